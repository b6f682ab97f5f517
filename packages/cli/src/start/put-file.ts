import { randomBytes } from 'node:crypto'
import { rename, rm, utimes, writeFile } from 'node:fs/promises'

/**
 * Puts a file in its place, whole or not at all, whoever else does so at the same time.
 * @param madeAt - The time that it bears: that at which its making began.
 */
export async function putFile(path: string, bytes: Uint8Array, madeAt: Date): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeFile(temporary, bytes, { flag: 'wx' })
    await utimes(temporary, madeAt, madeAt)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
