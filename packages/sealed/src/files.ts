import { randomBytes } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SealedFormatError } from './errors.ts'
import {
  HEADER_PREFIX_LENGTH,
  parseSealedHeader,
  sealedHeaderLength,
  type UnverifiedHeader,
} from './header.ts'

/** Returns an unused hidden name in the folder of `path`. */
export function temporaryName(path: string): string {
  const unique = randomBytes(8).toString('hex')
  return join(dirname(path), `.${basename(path)}.${unique}.tmp`)
}

/** Reads exactly `length` bytes at `position`, or throws `TRUNCATED`. */
export async function readExactly(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  await readInto(handle, position, bytes)
  return bytes
}

/** Fills `bytes` from `position` on, or throws `TRUNCATED`. */
export async function readInto(
  handle: FileHandle,
  position: number,
  bytes: Uint8Array,
): Promise<void> {
  let filled = 0
  while (filled < bytes.length) {
    const left = bytes.length - filled
    const { bytesRead } = await handle.read(bytes, filled, left, position + filled)
    if (bytesRead === 0) throw new SealedFormatError('TRUNCATED', 'the file is cut off')
    filled += bytesRead
  }
}

/** Writes all of `bytes` at `position`. */
export async function writeFully(
  handle: FileHandle,
  position: number,
  bytes: Uint8Array,
): Promise<void> {
  let written = 0
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(
      bytes,
      written,
      bytes.length - written,
      position + written,
    )
    written += bytesWritten
  }
}

/** Reads and parses the header at the beginning of an open file. */
export async function readHeader(handle: FileHandle): Promise<UnverifiedHeader> {
  const length = sealedHeaderLength(await readExactly(handle, 0, HEADER_PREFIX_LENGTH))
  return parseSealedHeader(await readExactly(handle, 0, length))
}

/** Makes a rename in the folder of `path` durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
