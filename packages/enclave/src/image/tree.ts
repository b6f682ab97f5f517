import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { DigestThread } from './digest-thread.ts'
import { ImageError, type ImageProblem } from './errors.ts'
import { forEachOf, seenFile } from './files.ts'
import type { ImageEntry } from './manifest.ts'

const AT_ONCE = 4

/** From here on a file is worth another thread. */
const LARGE = 4 * 1024 * 1024

/** What a folder holds, without following anything. */
export async function namesIn(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort()
  } catch (cause) {
    throw new ImageError('READ', `cannot read ${path}`, { cause })
  }
}

/** Finds every difference between a tree and its manifest. */
export class TreeCheck {
  /** What was found. */
  readonly problems: ImageProblem[] = []
  readonly #root: string
  readonly #thread: DigestThread | undefined
  readonly #children = new Map<string, ImageEntry[]>()
  readonly #files: (ImageEntry & { readonly type: 'file' })[] = []

  /**
   * @param root - Absolute path of the tree.
   * @param entries - What the tree is to hold, parents first.
   */
  constructor(root: string, entries: readonly ImageEntry[]) {
    this.#root = root
    // Begins while the folders are looked at.
    if (entries.some(isLarge)) this.#thread = DigestThread.shared
    for (const entry of entries) {
      const slash = entry.path.lastIndexOf('/')
      const parent = slash === -1 ? '' : entry.path.slice(0, slash)
      const siblings = this.#children.get(parent)
      if (siblings === undefined) this.#children.set(parent, [entry])
      else siblings.push(entry)
    }
  }

  /** Compares everything. @throws ImageError with `READ` when a folder cannot be read. */
  async run(): Promise<void> {
    if (await this.#folderStands('')) await this.#folder('')
    // The largest first, so that none is left over for one lane at the end.
    this.#files.sort((a, b) => b.size - a.size)
    await forEachOf(this.#files, AT_ONCE, (entry, lane) => this.#content(entry, lane === 0))
  }

  #report(code: ImageProblem['code'], path: string, wanted: string, seen: string): void {
    this.problems.push({ code, path: path === '' ? 'root' : `root/${path}`, wanted, seen })
  }

  #full(path: string): string {
    return path === '' ? this.#root : join(this.#root, path)
  }

  async #folder(path: string): Promise<void> {
    const wanted = this.#children.get(path) ?? []
    const names = new Set(await namesIn(this.#full(path)))
    for (const entry of wanted) {
      const name = entry.path.slice(path === '' ? 0 : path.length + 1)
      if (names.delete(name)) await this.#entry(entry)
      else this.#report('MISSING', entry.path, `a ${entry.type}`, 'nothing')
    }
    for (const name of names) {
      this.#report('ADDED', path === '' ? name : `${path}/${name}`, 'nothing', 'something')
    }
  }

  async #entry(entry: ImageEntry): Promise<void> {
    switch (entry.type) {
      case 'dir':
        if (await this.#folderStands(entry.path)) await this.#folder(entry.path)
        return
      case 'link':
        return this.#link(entry.path, entry.target)
      case 'file':
        this.#files.push(entry)
    }
  }

  async #folderStands(path: string): Promise<boolean> {
    const stats = await lstat(this.#full(path)).catch(() => undefined)
    if (!stats?.isDirectory()) {
      this.#report('TYPE', path, 'a folder', stats === undefined ? 'nothing' : 'something else')
      return false
    }
    this.#mode(path, '0755', stats.mode)
    return true
  }

  #mode(path: string, wanted: string, mode: number): void {
    const seen = (mode & 0o7777).toString(8).padStart(4, '0')
    if (seen !== wanted) this.#report('MODE', path, `mode ${wanted}`, `mode ${seen}`)
  }

  async #link(path: string, target: string): Promise<void> {
    const seen = await readlink(this.#full(path)).catch(() => undefined)
    if (seen === undefined) this.#report('TYPE', path, 'a link', 'something else')
    else if (seen !== target) this.#report('LINK', path, `a link to ${target}`, `one to ${seen}`)
  }

  async #content(entry: ImageEntry & { readonly type: 'file' }, elsewhere: boolean): Promise<void> {
    const thread = elsewhere && isLarge(entry) ? this.#thread : undefined
    const digest = thread?.digest.bind(thread)
    const seen = await seenFile(this.#full(entry.path), entry.size, digest)
    if (seen === undefined) {
      this.#report('TYPE', entry.path, 'a file that can be read', 'something else')
      return
    }
    this.#mode(entry.path, entry.mode, seen.mode)
    if (seen.size !== entry.size) {
      this.#report('CHANGED', entry.path, `${entry.size} bytes`, `${seen.size} bytes`)
    } else if (seen.sha256 !== entry.sha256) {
      this.#report('CHANGED', entry.path, `SHA-256 ${entry.sha256}`, `SHA-256 ${seen.sha256}`)
    }
  }
}

function isLarge(entry: ImageEntry): boolean {
  return entry.type === 'file' && entry.size >= LARGE
}
