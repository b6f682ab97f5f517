import type { TreeFile } from '../archive/tree.ts'
import type { ElfFile } from '../elf/read.ts'
import { ImageError } from './errors.ts'
import { isImagePath, MOUNT_POINTS } from './manifest.ts'
import type { Origin } from './origin.ts'

/** What an image is to hold at one path, and why. */
export type Planned = (
  | { readonly type: 'dir' }
  | { readonly type: 'link'; readonly target: string }
  | {
      readonly type: 'copy'
      readonly from: string
      readonly mode: number
      readonly elf?: ElfFile | undefined
    }
  | { readonly type: 'stored'; readonly file: TreeFile; readonly mode: number }
  | { readonly type: 'bytes'; readonly bytes: Uint8Array; readonly mode: number }
) & { readonly origin: Origin }

/** Paths below the image's root, each with what belongs there. Parents are among them. */
export type ImagePlan = ReadonlyMap<string, Planned>

const PARENT: Origin = { rule: 'parent' }

/** What an image is to hold, as it is being found out. */
export class Plan {
  readonly #planned = new Map<string, Planned>()

  /** Everything so far. */
  get result(): ImagePlan {
    return this.#planned
  }

  /** What is at a path, links not followed. */
  get(path: string): Planned | undefined {
    return this.#planned.get(path)
  }

  /** Whether something is at a path. */
  has(path: string): boolean {
    return this.#planned.has(path)
  }

  /** Puts a folder at `path`. @throws ImageError CONFLICT, SOURCE */
  folder(path: string, origin: Origin = PARENT): void {
    if (path === '' || path === '.') return
    const there = this.#planned.get(path)
    if (there?.type === 'dir') return
    if (there !== undefined) throw conflict(path, there.origin, origin)
    this.#assertPath(path)
    this.#parents(path)
    this.#planned.set(path, { type: 'dir', origin })
  }

  /**
   * Puts something at `path`. The same thing twice is once.
   * @throws ImageError CONFLICT, SOURCE
   */
  put(path: string, planned: Planned): void {
    this.#assertPath(path)
    const first = path.split('/')[0] ?? ''
    if ((MOUNT_POINTS as readonly string[]).includes(first)) {
      throw new ImageError('CONFLICT', `/${path}: /${first} stays empty, it is mounted over`)
    }
    this.#parents(path)
    const there = this.#planned.get(path)
    if (there === undefined) this.#planned.set(path, planned)
    else if (!isSame(there, planned)) throw conflict(path, there.origin, planned.origin)
  }

  /** Says that something is needed by one thing more. */
  need(path: string, by: string): void {
    const there = this.#planned.get(path)
    const { neededBy } = there?.origin ?? {}
    if (there === undefined || neededBy === undefined || neededBy.includes(by)) return
    this.#planned.set(path, { ...there, origin: { ...there.origin, neededBy: [...neededBy, by] } })
  }

  #assertPath(path: string): void {
    if (isImagePath(path)) return
    throw new ImageError('SOURCE', `${JSON.stringify(path)} cannot be a path in an image`)
  }

  #parents(path: string): void {
    const slash = path.lastIndexOf('/')
    if (slash !== -1) this.folder(path.slice(0, slash))
  }
}

function isSame(one: Planned, other: Planned): boolean {
  if (one.type === 'dir') return other.type === 'dir'
  if (one.type === 'link') return other.type === 'link' && one.target === other.target
  if (one.type === 'stored') {
    return (
      other.type === 'stored' && one.file.sha256 === other.file.sha256 && one.mode === other.mode
    )
  }
  return false
}

function described({ rule, artefact }: Origin): string {
  return artefact === undefined ? rule : `${artefact.name} ${artefact.version}`
}

function conflict(path: string, one: Origin, other: Origin): ImageError {
  const message = `/${path} is wanted twice: by ${described(one)} and by ${described(other)}`
  return new ImageError('CONFLICT', message)
}
