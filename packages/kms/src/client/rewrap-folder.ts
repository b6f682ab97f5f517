import { open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  HEADER_PREFIX_LENGTH,
  headerBytes,
  isRewrapCopy,
  parseSealedHeader,
  replaceHeader,
  SealedFormatError,
  sealedHeaderLength,
  type UnverifiedHeader,
} from '@cloister/sealed'
import { KmsError, type KmsErrorCode } from '../protocol/errors.ts'
import type { KmsClient } from './kms-client.ts'

/** What {@link rewrapFolder} needs. */
export interface RewrapFolderOptions {
  readonly client: KmsClient
  readonly folder: string
  /** Told after each file that was looked at. */
  readonly onProgress?: (done: { readonly files: number; readonly of: number }) => void
}

/** A file that could not be rewrapped, and stays as it was. */
export interface FailedFile {
  readonly path: string
  readonly code: string
  readonly message: string
}

/** What {@link rewrapFolder} did. */
export interface RewrappedFolder {
  /** Sealed files found, and files that could not be read; others are passed over. */
  readonly files: number
  readonly rewrapped: number
  /** Files that were under the newest version already. */
  readonly current: number
  /** Files that have no slot of this key service. */
  readonly foreign: number
  readonly failed: readonly FailedFile[]
}

/** Refusals that are about the caller or the service, not about one file. */
const ENDS: ReadonlySet<KmsErrorCode> = new Set([
  'UNAUTHENTICATED',
  'INTEGRITY',
  'INTERNAL',
  'TIMEOUT',
  'UNAVAILABLE',
])

/**
 * Has the data keys of all sealed files below a folder, parts of datasets among them, wrapped anew
 * under the newest version of their keys. Only key parts change, each file whole or not at all. When
 * it is ended in whatever way and called again, it goes on with the rest; copies that were left are
 * removed, so one such call at a time works on a folder. A file that cannot be rewrapped is told of,
 * and the others go on.
 * @throws KmsConnectionError; KmsError UNAUTHENTICATED and others that are about no file
 */
export async function rewrapFolder(options: RewrapFolderOptions): Promise<RewrappedFolder> {
  const { client, folder, onProgress } = options
  const paths = await filesBelow(folder)
  const versions = new Map<string, number>()
  const count = { rewrapped: 0, current: 0, foreign: 0 }
  const failed: FailedFile[] = []
  for (const [index, path] of paths.entries()) {
    try {
      const header = await sealedHeaderOf(path)
      if (header !== undefined) count[await rewrapFile(client, path, header, versions)] += 1
    } catch (error) {
      failed.push(failureFrom(path, error))
    }
    onProgress?.({ files: index + 1, of: paths.length })
  }
  const { current, foreign, rewrapped } = count
  return { files: rewrapped + current + foreign + failed.length, ...count, failed }
}

async function rewrapFile(
  client: KmsClient,
  path: string,
  header: UnverifiedHeader,
  versions: Map<string, number>,
): Promise<'rewrapped' | 'current' | 'foreign'> {
  const own = header.slots.filter(({ kmsId }) => kmsId === client.pin.kmsId)
  if (own.length === 0) return 'foreign'
  let bytes = headerBytes(header)
  let isChanged = false
  for (const { cmkId, cmkVersion } of own) {
    const newest = versions.get(cmkId) ?? (await client.describeKey(cmkId)).currentVersion
    versions.set(cmkId, newest)
    if (cmkVersion >= newest) continue
    bytes = await client.rewrapHeader(cmkId, bytes)
    isChanged = true
  }
  if (!isChanged) return 'current'
  await replaceHeader(path, header, bytes)
  return 'rewrapped'
}

/** Regular files below a folder, in the order of their paths; copies that were left are removed. */
async function filesBelow(folder: string): Promise<readonly string[]> {
  const paths: string[] = []
  const entries = await readdir(folder, { withFileTypes: true })
  entries.sort((left, right) => (left.name < right.name ? -1 : 1))
  for (const entry of entries) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) paths.push(...(await filesBelow(path)))
    else if (entry.isFile() && isRewrapCopy(entry.name)) await rm(path)
    else if (entry.isFile()) paths.push(path)
  }
  return paths
}

/** A sealed file's header; undefined for any other file. @throws SealedFormatError */
async function sealedHeaderOf(path: string): Promise<UnverifiedHeader | undefined> {
  const handle = await open(path, 'r')
  try {
    const prefix = new Uint8Array(HEADER_PREFIX_LENGTH)
    const { bytesRead } = await handle.read(prefix, 0, prefix.length, 0)
    const length = lengthFrom(prefix.subarray(0, bytesRead))
    if (length === undefined) return undefined
    const header = new Uint8Array(length)
    const read = await handle.read(header, 0, length, 0)
    return parseSealedHeader(header.subarray(0, read.bytesRead))
  } finally {
    await handle.close()
  }
}

function lengthFrom(prefix: Uint8Array): number | undefined {
  try {
    return sealedHeaderLength(prefix)
  } catch (error) {
    const isOther =
      error instanceof SealedFormatError && ['MAGIC', 'TRUNCATED'].includes(error.code)
    if (isOther) return undefined
    throw error
  }
}

/** What is wrong with one file. @throws whatever is about more than that */
function failureFrom(path: string, error: unknown): FailedFile {
  const isOfFile =
    error instanceof SealedFormatError || (error instanceof KmsError && !ENDS.has(error.code))
  if (isOfFile) return { path, code: error.code, message: error.message }
  // Of the system: the file went away, or may not be read.
  if (error instanceof Error && 'syscall' in error && 'code' in error) {
    return { path, code: String(error.code), message: error.message }
  }
  throw error
}
