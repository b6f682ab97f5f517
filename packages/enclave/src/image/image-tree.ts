import type { ImageEntry } from './manifest.ts'

/** Most links that a path may lead over, as Linux has it. */
const MAX_LINKS = 40

/** An image's entries by path and by folder. */
export class ImageTree {
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

  /** Names of what is in a folder. */
  namesIn(folder: string): readonly string[] {
    return this.#names.get(folder) ?? []
  }

  /**
   * What stands at a path once every link on the way was followed, and where that is; undefined where
   * it leads over too many.
   * @param path - Relative to the root.
   */
  resolve(
    path: string,
  ): { readonly path: string; readonly entry: ImageEntry | undefined } | undefined {
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
      if (links > MAX_LINKS) return undefined
      rest = [...entry.target.split('/').filter(part => part !== ''), ...rest]
    }
    const end = at.join('/')
    return { path: end, entry: this.#byPath.get(end) }
  }
}
