import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  futimesSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs'
import { chmod, type FileHandle, mkdir, open } from 'node:fs/promises'

const CHUNK = 1024 * 1024
const READ_REGULAR = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** When everything in an image was changed last. */
export const EPOCH = new Date(0)

/** What was read of a file. */
export interface FileDigest {
  readonly size: number
  /** Lower-case hexadecimal. */
  readonly sha256: string
}

/**
 * Runs `act` for each item, several at a time; stops at the first that fails.
 * @param act - Is told which of them it is, from 0: one has one item at a time.
 */
export async function forEachOf<Item>(
  items: readonly Item[],
  atOnce: number,
  act: (item: Item, lane: number) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  let failed = false
  const run = async (lane: number): Promise<void> => {
    for (const item of rest) {
      if (failed) return
      try {
        await act(item, lane)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: atOnce }, (_, lane) => run(lane)))
  for (const result of lanes) if (result.status === 'rejected') throw result.reason
}

/** Opens a file for reading; never follows a link, never waits for the writer of a pipe. */
export function openRegular(path: string): Promise<FileHandle> {
  return open(path, READ_REGULAR)
}

/**
 * Hashes at most `limit` bytes of an open file, and hands each piece to `each` first.
 * A file that is longer shows as one whose size is `limit + 1`.
 */
export async function digestFile(
  file: FileHandle,
  limit = Number.MAX_SAFE_INTEGER - 1,
  each?: (piece: Uint8Array) => Promise<void>,
): Promise<FileDigest> {
  const hash = createHash('sha256')
  const length = Math.min(CHUNK, limit + 1)
  // Two buffers: the thread pool fills one while this thread hashes the other.
  let [filled, free] = [Buffer.allocUnsafe(length), Buffer.allocUnsafe(length)]
  let size = 0
  const next = () => {
    const read = file.read(filled, 0, length, null)
    // Awaited below, unless `each` fails first.
    read.catch(() => undefined)
    return read
  }
  let reading = next()
  for (;;) {
    const { bytesRead } = await reading
    if (bytesRead === 0) break
    size += bytesRead
    if (size > limit) return { size: limit + 1, sha256: '' }
    const piece = filled.subarray(0, bytesRead)
    ;[filled, free] = [free, filled]
    reading = next()
    hash.update(piece)
    await each?.(piece)
  }
  return { size, sha256: hash.digest('hex') }
}

/** Makes a folder that everyone may read, whatever the umask. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, 0o755)
  await chmod(path, 0o755)
}

/** Has a folder's names on disk on return. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  await folder.sync().finally(() => folder.close())
}

/**
 * Writes a new file, of that mode whatever the umask.
 * @param durable - Whether it is on disk on return; unless the caller sees to that.
 */
export async function writeNew(
  path: string,
  bytes: Uint8Array,
  mode: number,
  { durable = true }: { readonly durable?: boolean } = {},
): Promise<void> {
  const file = await open(path, NEW_FILE, 0o600)
  try {
    await file.writeFile(bytes)
    await file.chmod(mode)
    await file.utimes(EPOCH, EPOCH)
    if (durable) await file.sync()
  } finally {
    await file.close()
  }
}

/** Below this a file is read in one go: the steps between threads would take longer than it does. */
const SMALL = 1024 * 1024

/** Where a small file is held while it is hashed or copied; one byte more, so that a longer one shows. */
const small = Buffer.allocUnsafeSlow(SMALL + 1)

/** What an open small file holds, up to one byte more than it should; gone at the next call. */
function readSmall(input: number, size: number): Buffer {
  let filled = 0
  for (let read = -1; read !== 0 && filled <= size; filled += read) {
    read = readSync(input, small, filled, size + 1 - filled, null)
  }
  return small.subarray(0, filled)
}

/** A file as it was found. */
export interface SeenFile extends FileDigest {
  readonly mode: number
}

/**
 * Finds what a file is; follows no link. Undefined where it is no file that can be read.
 * @param size - Bytes that it should have. Of one that has another number, nothing is hashed.
 * @param digest - How a file is hashed that is not small.
 */
export async function seenFile(
  path: string,
  size: number,
  digest: (file: FileHandle, limit: number) => Promise<FileDigest> = digestFile,
): Promise<SeenFile | undefined> {
  if (size <= SMALL) return seenSmall(path, size)
  const file = await openRegular(path).catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const stats = await file.stat()
    if (!stats.isFile()) return undefined
    const { mode } = stats
    if (stats.size !== size) return { mode, size: stats.size, sha256: '' }
    return { mode, ...(await digest(file, size)) }
  } finally {
    await file.close()
  }
}

function seenSmall(path: string, size: number): SeenFile | undefined {
  let file: number
  try {
    file = openSync(path, READ_REGULAR)
  } catch {
    return undefined
  }
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) return undefined
    const { mode } = stats
    if (stats.size !== size) return { mode, size: stats.size, sha256: '' }
    return { mode, ...digestOf(readSmall(file, size)) }
  } finally {
    closeSync(file)
  }
}

function digestOf(bytes: Uint8Array): FileDigest {
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/**
 * Copies a small file to a new one and says what was written; undefined for a large one, of which
 * nothing is done. Not durable.
 * @param size - Bytes that the file should have.
 */
export function copySmall(
  from: string,
  to: string,
  size: number,
  mode: number,
): FileDigest | undefined {
  if (size > SMALL) return undefined
  const input = openSync(from, READ_REGULAR)
  let bytes: Buffer
  try {
    bytes = readSmall(input, size)
  } finally {
    closeSync(input)
  }
  const output = openSync(to, NEW_FILE, 0o600)
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(output, bytes, at)
    fchmodSync(output, mode)
    futimesSync(output, EPOCH, EPOCH)
  } finally {
    closeSync(output)
  }
  return digestOf(bytes)
}

/** How to copy a file. */
export interface CopyOptions {
  readonly mode: number
  /** Whether the copy is on disk on return. */
  readonly durable: boolean
  /** As in {@link digestFile}. */
  readonly limit?: number
  /** Sees each piece, too. */
  readonly tap?: (piece: Uint8Array) => void
}

/** Copies an open file to a new one and says what was written. */
export async function copyNew(
  input: FileHandle,
  to: string,
  { mode, durable, limit, tap }: CopyOptions,
): Promise<FileDigest> {
  const output = await open(to, NEW_FILE, 0o600)
  try {
    const digest = await digestFile(input, limit, async piece => {
      tap?.(piece)
      await output.writeFile(piece)
    })
    await output.chmod(mode)
    await output.utimes(EPOCH, EPOCH)
    if (durable) await output.sync()
    return digest
  } finally {
    await output.close()
  }
}
