import { randomBytes } from 'node:crypto'
import { rename, rm, utimes, writeFile } from 'node:fs/promises'
import { bundle } from '@cloister/enclave'

/**
 * Writes a program and all that it imports as one file, whole or not at all, whoever else builds at
 * the same time. It bears the time at which its making began: what changes meanwhile is newer.
 * @param external - Modules to leave out: paths from the program's.
 */
export async function makeBundle(
  entry: string,
  file: string,
  external: readonly string[] = [],
): Promise<void> {
  const begunAt = new Date()
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeFile(temporary, await bundle({ entry, external }), { flag: 'wx' })
    await utimes(temporary, begunAt, begunAt)
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
