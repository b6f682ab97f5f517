import { constants, copyFile, open, rename, rm } from 'node:fs/promises'
import type { Dek } from './dek.ts'
import { readHeader, syncFolder, temporaryName, writeFully } from './files.ts'
import { encodeSealedHeader, type Slot, verifyHeader } from './header.ts'

/**
 * Replaces a file's slots, atomically: afterwards `path` is the old file or the new one. The
 * payload's bytes and the header's length stay; throws `LIMIT` if the slots do not fit in it. Two
 * replacements at the same time do not merge: the later rename wins.
 */
export async function replaceSlots(path: string, dek: Dek, slots: readonly Slot[]): Promise<void> {
  const temporary = temporaryName(path)
  try {
    // The copy is what is checked and changed, so a file replaced meanwhile cannot mix in.
    await copyFile(path, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    const handle = await open(temporary, 'r+')
    try {
      const { fixed, headerLength } = verifyHeader(await readHeader(handle), dek)
      await writeFully(handle, 0, encodeSealedHeader({ fixed, slots, dek, headerLength }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(path)
}
