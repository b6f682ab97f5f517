import { constants, copyFile, open, rename, rm } from 'node:fs/promises'
import type { Dek } from './dek.ts'
import { SealedFormatError } from './errors.ts'
import { readHeader, syncFolder, temporaryName, writeFully } from './files.ts'
import {
  encodeSealedHeader,
  headerBytes,
  parseSealedHeader,
  type Slot,
  type UnverifiedHeader,
  verifyHeader,
} from './header.ts'

/**
 * Replaces a file's slots, atomically: afterwards `path` is the old file or the new one. The
 * payload's bytes and the header's length stay; throws `LIMIT` if the slots do not fit in it. Two
 * replacements at the same time do not merge: the later rename wins.
 */
export async function replaceSlots(path: string, dek: Dek, slots: readonly Slot[]): Promise<void> {
  await rewriteHeader(path, current => {
    const { fixed, headerLength } = verifyHeader(current, dek)
    return encodeSealedHeader({ fixed, slots, dek, headerLength })
  })
}

/**
 * Replaces a file's header by one that somebody who may have its DEK has made, as
 * {@link replaceSlots} does. Whoever opens the file checks the header's MAC; here is checked that it
 * is a header of this very file, and that nobody replaced `seen` meanwhile.
 * @param seen - The header that `header` was made from
 * @throws SealedFormatError `HEADER` when the header is another file's, or the file's is not `seen`
 */
export async function replaceHeader(
  path: string,
  seen: UnverifiedHeader,
  header: Uint8Array,
): Promise<void> {
  const next = parseSealedHeader(header)
  if (next.headerLength !== seen.headerLength || !same(next.fixedBytes, seen.fixedBytes)) {
    throw new SealedFormatError('HEADER', `wanted a header of ${path}, saw another file's`)
  }
  await rewriteHeader(path, current => {
    if (same(headerBytes(current), headerBytes(seen))) return header
    throw new SealedFormatError('HEADER', `the header of ${path} was replaced meanwhile`)
  })
}

/** Ends the names of copies that are being rewritten. */
const COPY_SUFFIX = '.rewrap'

/**
 * Whether a file's name is one that only replacing a header gives: where nobody is at it, what was
 * left when it was ended from outside. The file that it is a copy of is whole.
 */
export function isRewrapCopy(name: string): boolean {
  return /^\..+\.rewrap\.[0-9a-f]{16}\.tmp$/.test(name)
}

async function rewriteHeader(
  path: string,
  make: (current: UnverifiedHeader) => Uint8Array,
): Promise<void> {
  const temporary = temporaryName(`${path}${COPY_SUFFIX}`)
  try {
    // The copy is what is checked and changed, so a file replaced meanwhile cannot mix in.
    await copyFile(path, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    const handle = await open(temporary, 'r+')
    try {
      await writeFully(handle, 0, make(await readHeader(handle)))
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

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
