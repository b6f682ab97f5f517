import { createHash } from 'node:crypto'
import { ImageTree } from '../../image/image-tree.ts'
import type { ImageEntry } from '../../image/manifest.ts'
import { BackendError } from '../errors.ts'

/** Most trusted files: Gramine reads the list anew in every process. */
const MAX_PATHS = 200_000
/** Most folders in one another that a path may lead through. */
const MAX_DEPTH = 40

/** A path by which the program can open a file, and what it must find there. */
export interface TrustedPath {
  /** Relative to the image's root. */
  readonly path: string
  /** Lower-case hexadecimal. */
  readonly sha256: string
}

/**
 * Every path by which a file of the image can be opened. Gramine knows no links: it hashes what the
 * host shows at the path that was asked for, so that each way to a file is a trusted file itself. A link
 * that leads nowhere is none: what is not listed is not opened, whatever the host shows there.
 * @throws BackendError with `FILES` for links that lead around, and for too many paths.
 */
export function trustedPaths(entries: readonly ImageEntry[]): readonly TrustedPath[] {
  const tree = new ImageTree(entries)
  const found: TrustedPath[] = []
  walk(tree, '', '', 0, trusted => {
    if (found.length === MAX_PATHS) {
      throw new BackendError('FILES', `more than ${MAX_PATHS} ways to the image's files`)
    }
    found.push(trusted)
  })
  return found.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

/** Visits what can be reached by `prefix`, which stands for `folder`. */
function walk(
  tree: ImageTree,
  prefix: string,
  folder: string,
  depth: number,
  visit: (trusted: TrustedPath) => void,
): void {
  if (depth > MAX_DEPTH) {
    throw new BackendError('FILES', `/${prefix}: folders lead into each other by links`)
  }
  for (const name of tree.namesIn(folder)) {
    const path = prefix === '' ? name : `${prefix}/${name}`
    const resolved = tree.resolve(folder === '' ? name : `${folder}/${name}`)
    if (resolved === undefined) {
      throw new BackendError('FILES', `/${path} leads over too many links`)
    }
    const { entry } = resolved
    // The root is a folder that has no entry.
    const isFolder = entry?.type === 'dir' || resolved.path === ''
    if (isFolder) walk(tree, path, resolved.path, depth + 1, visit)
    else if (entry?.type === 'file') visit({ path, sha256: entry.sha256 })
  }
}

/** SHA-256 of bytes, lower-case hexadecimal. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
