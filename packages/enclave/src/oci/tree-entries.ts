import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { comparePaths } from '../image/manifest.ts'
import { PackageError } from './errors.ts'

/** What a layer holds at a path, which is relative to the container's root. */
export type LayerEntry =
  | { readonly path: string; readonly type: 'dir'; readonly mode: number }
  | { readonly path: string; readonly type: 'link'; readonly target: string }
  | {
      readonly path: string
      readonly type: 'file'
      readonly mode: number
      readonly from: string
      readonly size: number
    }

/** Names of a folder and everything below it, as it lies there. */
export async function entriesBelow(folder: string, into: string): Promise<readonly LayerEntry[]> {
  const entries: LayerEntry[] = []
  for (const name of (await readdir(folder)).sort()) {
    entries.push(...(await entriesAt(join(folder, name), `${into}/${name}`)))
  }
  return entries
}

/**
 * A file, link or folder with everything below it.
 * @param into - Where it is to lie, relative to the container's root.
 * @throws PackageError with `SOURCE`
 */
export async function entriesAt(from: string, into: string): Promise<readonly LayerEntry[]> {
  const stats = await lstat(from).catch((cause: unknown) => {
    throw new PackageError('SOURCE', `cannot read ${from}`, { cause })
  })
  if (stats.isSymbolicLink()) return [{ path: into, type: 'link', target: await readlink(from) }]
  // What a user may do comes from the folder; who, and when, does not.
  if (stats.isDirectory()) {
    return [{ path: into, type: 'dir', mode: 0o755 }, ...(await entriesBelow(from, into))]
  }
  if (!stats.isFile()) throw new PackageError('SOURCE', `${from} is neither file, folder nor link`)
  const mode = (stats.mode & 0o111) === 0 ? 0o644 : 0o755
  return [{ path: into, type: 'file', mode, from, size: stats.size }]
}

/** Entries in the order of their paths, with every folder that they lie in. */
export function withParents(entries: readonly LayerEntry[]): readonly LayerEntry[] {
  const all = new Map<string, LayerEntry>()
  for (const entry of entries) {
    for (let at = entry.path.indexOf('/'); at !== -1; at = entry.path.indexOf('/', at + 1)) {
      const path = entry.path.slice(0, at)
      if (!all.has(path)) all.set(path, { path, type: 'dir', mode: 0o755 })
    }
    all.set(entry.path, entry)
  }
  return [...all.values()].sort((a, b) => comparePaths(a.path, b.path))
}
