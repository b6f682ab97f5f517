import type { Readable } from 'node:stream'
import { extract, type Header } from 'tar-stream'
import { LockError } from '../lock/errors.ts'
import type { ArchiveBudget } from './budget.ts'
import { type ArchiveEntry, entryPath } from './entry.ts'

const TYPES: Readonly<Record<string, ArchiveEntry['type']>> = {
  file: 'file',
  'contiguous-file': 'file',
  directory: 'dir',
  symlink: 'symlink',
  link: 'hardlink',
}

/**
 * Reads a tar stream, entry by entry. Nothing of it reaches a file system by its own paths.
 * @param name - The archive, for messages.
 * @throws LockError ARCHIVE for paths that lead outside, devices, pipes, and malformed streams
 */
export async function* readTar(
  name: string,
  stream: Readable,
  budget: ArchiveBudget,
): AsyncGenerator<ArchiveEntry> {
  const unpacking = extract()
  stream.on('error', error => unpacking.destroy(error))
  stream.pipe(unpacking)
  try {
    for await (const entry of unpacking) {
      budget.entry()
      yield entryOf(name, entry.header, counted(entry, budget))
      entry.resume()
    }
  } catch (cause) {
    if (cause instanceof LockError) throw cause
    const reason = cause instanceof Error ? cause.message : 'malformed'
    throw new LockError('ARCHIVE', `${name}: ${reason}`, { cause })
  } finally {
    stream.destroy()
  }
}

function entryOf(name: string, header: Header, content: AsyncIterable<Uint8Array>): ArchiveEntry {
  const type = TYPES[header.type ?? 'file']
  if (type === undefined) {
    const message = `${name}: ${header.name} is a ${header.type}; only files, folders and links go into images`
    throw new LockError('ARCHIVE', message)
  }
  return {
    path: entryPath(name, header.name),
    type,
    mode: header.mode ?? 0o644,
    target: header.linkname ?? '',
    content,
  }
}

async function* counted(
  content: AsyncIterable<unknown>,
  budget: ArchiveBudget,
): AsyncGenerator<Uint8Array> {
  for await (const piece of content) {
    if (!(piece instanceof Uint8Array)) throw new TypeError('a tar stream gives bytes')
    budget.spend(piece.length)
    yield piece
  }
}
