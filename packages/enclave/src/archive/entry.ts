import { posix } from 'node:path'
import { isImagePath } from '../image/manifest.ts'
import { LockError } from '../lock/errors.ts'

/** One entry of an archive; its path was found to stay inside. */
export interface ArchiveEntry {
  /** Relative, in normal form; empty for the archive's own top folder. */
  readonly path: string
  readonly type: 'dir' | 'file' | 'symlink' | 'hardlink'
  /** Permission bits, as the archive says. */
  readonly mode: number
  /** Of links, as the archive says. */
  readonly target: string
  /** Of files. To be read to its end before the next entry is asked for. */
  readonly content: AsyncIterable<Uint8Array>
}

/**
 * An entry's path in normal form.
 * @throws LockError ARCHIVE for a path that is absolute, climbs, or cannot stand in an image
 */
export function entryPath(archive: string, written: string): string {
  const trimmed = written.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '')
  if (trimmed === '' || trimmed === '.') {
    if (written.startsWith('/') || written === '') throw outsideFault(archive, written)
    return ''
  }
  if (!isImagePath(trimmed)) throw outsideFault(archive, written)
  return trimmed
}

function outsideFault(archive: string, written: string): LockError {
  const message = `${archive}: the entry ${JSON.stringify(written)} has no path that stays inside`
  return new LockError('ARCHIVE', message)
}

/**
 * Where a symbolic link leads, as a path from the root of what is unpacked.
 * @param from - Path of the link.
 * @param target - As written; absolute ones start at the root.
 * @returns undefined for one that climbs above the root, or is no path
 */
export function linkDestination(from: string, target: string): string | undefined {
  const start = target.startsWith('/') ? '' : posix.dirname(from)
  const parts: string[] = start === '' || start === '.' ? [] : start.split('/')
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined) return undefined
  }
  const path = parts.join('/')
  return path === '' || isImagePath(path) ? path : undefined
}

/** The target of a link at `from` that leads to `to`: relative, climbing first. */
export function relativeTarget(from: string, to: string): string {
  const target = posix.relative(posix.dirname(from) === '.' ? '' : posix.dirname(from), to)
  return target === '' ? '.' : target
}
