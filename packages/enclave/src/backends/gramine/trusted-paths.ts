import { createHash } from 'node:crypto'
import type { ImageEntry } from '../../image/manifest.ts'
import { BackendError } from '../errors.ts'

/** Most trusted files: Gramine reads the list anew in every process. */
const MAX_PATHS = 200_000
/** Most links that a path may lead over, as Linux has it. */
const MAX_LINKS = 40

/** A path by which the program can open a file, and what it must find there. */
export interface TrustedPath {
  /** Relative to the image's root. */
  readonly path: string
  /** Lower-case hexadecimal. */
  readonly sha256: string
}

/**
 * Every path by which a file of the image can be opened. Gramine knows no links: it hashes what the
 * host shows at the path that was asked for, so that each way to a file is a trusted file itself.
 * @throws BackendError with `FILES` for links that lead nowhere or around, and for too many paths.
 */
export function trustedPaths(entries: readonly ImageEntry[]): readonly TrustedPath[] {
  const tree = new Tree(entries)
  const found: TrustedPath[] = []
  walk(tree, '', '', 0, trusted => {
    if (found.length === MAX_PATHS) {
      throw new BackendError('FILES', `more than ${MAX_PATHS} ways to the image's files`)
    }
    found.push(trusted)
  })
  return found.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

/** An image's entries by path and by folder. */
class Tree {
  readonly #byPath = new Map<string, ImageEntry>()
  readonly #names = new Map<string, string[]>()

  constructor(entries: readonly ImageEntry[]) {
    for (const entry of entries) {
      this.#byPath.set(entry.path, entry)
      const slash = entry.path.lastIndexOf('/')
      const folder = slash === -1 ? '' : entry.path.slice(0, slash)
      const siblings = this.#names.get(folder)
      const name = entry.path.slice(slash + 1)
      if (siblings === undefined) this.#names.set(folder, [name])
      else siblings.push(name)
    }
  }

  namesIn(folder: string): readonly string[] {
    return this.#names.get(folder) ?? []
  }

  /** What stands at a path once every link on the way was followed, and where that is. */
  resolve(path: string): { readonly path: string; readonly entry: ImageEntry | undefined } {
    let rest = path.split('/').filter(part => part !== '')
    let at: string[] = []
    for (let links = 0; rest.length > 0; ) {
      const [next = '', ...others] = rest
      rest = others
      if (next === '..') {
        at = at.slice(0, -1)
        continue
      }
      const entry = this.#byPath.get([...at, next].join('/'))
      if (entry?.type !== 'link') {
        at = [...at, next]
        continue
      }
      links += 1
      if (links > MAX_LINKS) throw new BackendError('FILES', `/${path} leads over too many links`)
      rest = [...entry.target.split('/').filter(part => part !== ''), ...rest]
    }
    const end = at.join('/')
    return { path: end, entry: this.#byPath.get(end) }
  }
}

/** Visits what can be reached by `prefix`, which stands for `folder`. */
function walk(
  tree: Tree,
  prefix: string,
  folder: string,
  depth: number,
  visit: (trusted: TrustedPath) => void,
): void {
  if (depth > MAX_LINKS) {
    throw new BackendError('FILES', `/${prefix}: folders lead into each other by links`)
  }
  for (const name of tree.namesIn(folder)) {
    const path = prefix === '' ? name : `${prefix}/${name}`
    const resolved = tree.resolve(folder === '' ? name : `${folder}/${name}`)
    switch (resolved.entry?.type) {
      case 'file':
        visit({ path, sha256: resolved.entry.sha256 })
        break
      case 'dir':
        walk(tree, path, resolved.path, depth + 1, visit)
        break
      default:
        throw new BackendError('FILES', `/${path} is a link that leads nowhere`)
    }
  }
}

/** SHA-256 of bytes, lower-case hexadecimal. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
