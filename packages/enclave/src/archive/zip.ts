import type { Readable } from 'node:stream'
import { type Entry, open, type ZipFile } from 'yauzl'
import { LockError } from '../lock/errors.ts'
import type { ArchiveBudget } from './budget.ts'
import { type ArchiveEntry, entryPath } from './entry.ts'

const MODE_TYPE = 0o170_000
const LINK = 0o120_000
const REGULAR = 0o100_000
const FOLDER = 0o040_000

/**
 * Reads a zip file (a wheel, a jar), entry by entry, in the order of its directory.
 * @param name - The archive, for messages.
 * @param path - Where it is.
 * @throws LockError ARCHIVE for paths that lead outside or come twice, entries that are encrypted,
 * lie about their size or are no files, and malformed files
 */
export async function* readZip(
  name: string,
  path: string,
  budget: ArchiveBudget,
): AsyncGenerator<ArchiveEntry> {
  let zip: ZipFile | undefined
  try {
    zip = await opened(path)
    const seen = new Set<string>()
    for await (const entry of entriesOf(zip)) {
      budget.entry()
      const found = entryOf(name, entry, await contentOf(zip, entry), budget)
      if (seen.has(found.path)) {
        throw new LockError('ARCHIVE', `${name}: ${found.path} is there twice`)
      }
      seen.add(found.path)
      yield found
    }
  } catch (cause) {
    if (cause instanceof LockError) throw cause
    const reason = cause instanceof Error ? cause.message : 'malformed'
    throw new LockError('ARCHIVE', `${name}: ${reason}`, { cause })
  } finally {
    zip?.close()
  }
}

function opened(path: string): Promise<ZipFile> {
  // Strict: no backslashes, nothing that climbs or is absolute; sizes are compared while reading.
  const options = {
    ...{ lazyEntries: true, autoClose: false },
    ...{ strictFileNames: true, validateEntrySizes: true },
  }
  return new Promise((resolve, reject) => {
    open(path, options, (error, zip) => (error ? reject(error) : resolve(zip)))
  })
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for (;;) {
    const next = await new Promise<Entry | undefined>((resolve, reject) => {
      zip.once('entry', resolve)
      zip.once('end', () => resolve(undefined))
      zip.once('error', reject)
      zip.readEntry()
    })
    zip.removeAllListeners()
    if (next === undefined) return
    yield next
  }
}

function contentOf(zip: ZipFile, entry: Entry): Promise<Readable | undefined> {
  if (entry.fileName.endsWith('/')) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream)))
  })
}

function entryOf(
  name: string,
  entry: Entry,
  content: Readable | undefined,
  budget: ArchiveBudget,
): ArchiveEntry {
  const path = entryPath(name, entry.fileName)
  // Made on Unix, the upper half holds the mode; elsewhere it is zero.
  const mode = entry.externalFileAttributes >>> 16
  const type = mode & MODE_TYPE
  if (type === LINK || (type !== 0 && type !== REGULAR && type !== FOLDER)) {
    throw new LockError('ARCHIVE', `${name}: ${path} is neither file nor folder`)
  }
  return {
    path,
    type: content === undefined ? 'dir' : 'file',
    mode: mode & 0o7777,
    target: '',
    content: counted(content, budget),
  }
}

async function* counted(
  content: Readable | undefined,
  budget: ArchiveBudget,
): AsyncGenerator<Uint8Array> {
  if (content === undefined) return
  for await (const piece of content) {
    if (!(piece instanceof Uint8Array)) throw new TypeError('a zip stream gives bytes')
    budget.spend(piece.length)
    yield piece
  }
}
