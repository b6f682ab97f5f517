import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { layOut, type PartWithKey } from '@cloister/sealed'
import { requireAbsent } from './require-absent.ts'

/**
 * Makes a folder of a dataset's files, whole or not at all; refuses to replace one.
 * @returns How many bytes the files have
 * @throws UsageError
 */
export async function writeFolder(folder: string, parts: readonly PartWithKey[]): Promise<number> {
  await requireAbsent(folder)
  const temporary = `${folder}.${randomBytes(6).toString('hex')}.tmp`
  await mkdir(temporary, { mode: 0o700 })
  try {
    const bytes = await layOut(temporary, parts)
    await rename(temporary, folder)
    return bytes
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}
