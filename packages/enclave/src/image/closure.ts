import { posix } from 'node:path'
import { linkDestination } from '../archive/entry.ts'
import type { ElfFile } from '../elf/read.ts'
import { ImageError } from './errors.ts'
import { follow, type LockedRoot, MERGED_LINKS } from './locked-root.ts'
import type { Plan, Planned } from './plan.ts'

/** e_machine of x86-64. */
const MACHINE = 62

/** Where Debian's loader looks without being told. */
const DEFAULT_FOLDERS = ['usr/lib/x86_64-linux-gnu', 'usr/lib'] as const

/** Names of the C library of systems that are not Debian: what asks for it is for those. */
const FOREIGN = /^(?:libc\.musl-|ld-musl-)/

/** A library that a file asks for and nobody has. */
interface Missing {
  readonly library: string
  readonly path: string
  readonly planned: Planned
}

/** What a program in the image needs to start, found in the image and in the locked root alone. */
export class LibraryClosure {
  readonly #plan: Plan
  readonly #root: LockedRoot
  readonly #libraryPath: readonly string[]
  readonly #sonames = new Map<string, string>()
  readonly #done = new Set<string>()
  readonly #missing: Missing[] = []

  /**
   * @param plan - What goes in; grows by what is needed.
   * @param root - What may be asked for.
   * @param libraryPath - The image's measured LD_LIBRARY_PATH.
   */
  constructor(plan: Plan, root: LockedRoot, libraryPath: string | undefined) {
    this.#plan = plan
    this.#root = root
    this.#libraryPath = (libraryPath ?? '').split(':').filter(folder => folder.startsWith('/'))
  }

  /**
   * Adds everything that links and ELF files of the plan lead to.
   * @param allowed - Libraries to do without.
   * @throws ImageError LIBRARY naming each missing library and who asks for it
   */
  run(allowed: readonly string[]): void {
    const all = [...this.#plan.result]
    for (const [path, planned] of all) {
      const soname = elfOf(planned)?.soname
      if (soname !== undefined) this.#sonames.set(soname, path)
    }
    for (const [path, planned] of all) this.#visit(path, planned, [])
    const missing = this.#missing.filter(({ library }) => !allowed.includes(library))
    if (missing.length > 0) throw missingFault(missing)
  }

  /** Adds a program and what it needs. @returns whether it is to be had */
  require(path: string, by: string): boolean {
    const found = this.#pull(path, by, 'entry')
    if (found === undefined) return false
    this.#visit(found.path, found.planned, [])
    return true
  }

  readonly #at = (path: string): Planned | undefined =>
    this.#plan.get(path) ?? this.#root.get(path) ?? mergedLink(path)

  #visit(path: string, planned: Planned, chain: readonly Loaded[]): void {
    if (planned.type === 'link') {
      // The target may be of no use, so that it is no fault where nobody has it.
      const target = linkDestination(path, planned.target)
      const found = target === undefined ? undefined : this.#pull(target, path, 'link-target')
      if (found !== undefined) this.#visit(found.path, found.planned, chain)
      return
    }
    const elf = elfOf(planned)
    if (elf === undefined || this.#done.has(path)) return
    this.#done.add(path)
    if (elf.machine !== MACHINE || isForeign(elf)) return
    if (elf.interpreter !== undefined) this.#need(elf.interpreter, path, planned, [])
    const loaded: Loaded = { path, elf }
    for (const library of elf.needed) this.#need(library, path, planned, [loaded, ...chain])
  }

  #need(library: string, path: string, planned: Planned, chain: readonly Loaded[]): void {
    for (const candidate of this.#candidates(library, chain)) {
      const found = follow(candidate, this.#at)
      const elf = found === undefined ? undefined : elfOf(found.planned)
      if (elf?.machine !== MACHINE) continue
      const pulled = this.#pull(candidate, path, 'library')
      if (pulled !== undefined) this.#visit(pulled.path, pulled.planned, chain)
      return
    }
    // Whoever loads this file has loaded that library before it: one is in the image.
    const elsewhere = this.#sonames.get(library)
    if (elsewhere !== undefined) this.#plan.need(elsewhere, `/${path}`)
    else this.#missing.push({ library, path, planned })
  }

  /** @see ld.so(8): the order in which a library is looked for */
  *#candidates(library: string, chain: readonly Loaded[]): Generator<string> {
    if (library.includes('/')) {
      yield library
      return
    }
    const [self] = chain
    if (self?.elf.runpath.length === 0) {
      for (const { path, elf } of chain) {
        if (elf.runpath.length === 0) yield* inFolders(elf.rpath, path, library)
      }
    }
    yield* inFolders(this.#libraryPath, '', library)
    if (self !== undefined) yield* inFolders(self.elf.runpath, self.path, library)
    for (const folder of DEFAULT_FOLDERS) yield `${folder}/${library}`
  }

  /** Takes what is at a path into the plan, with each link on the way. */
  #pull(
    path: string,
    by: string,
    rule: string,
  ): { readonly path: string; readonly planned: Planned } | undefined {
    const found = follow(path, this.#at)
    if (found === undefined) return undefined
    for (const at of [...found.links, found.path]) {
      const planned = this.#root.get(at)
      if (!this.#plan.has(at) && planned !== undefined && planned.type !== 'dir') {
        const origin = { ...planned.origin, rule, neededBy: [`/${by.replace(/^\//, '')}`] }
        this.#plan.put(at, { ...planned, origin })
        const soname = elfOf(planned)?.soname
        if (soname !== undefined) this.#sonames.set(soname, at)
      } else {
        this.#plan.need(at, `/${by.replace(/^\//, '')}`)
      }
    }
    return found
  }
}

/** The links of a merged /usr, before it is known which of them the image has. */
function mergedLink(path: string): Planned | undefined {
  const isMerged = (MERGED_LINKS as readonly string[]).includes(path)
  return isMerged
    ? { type: 'link', target: `usr/${path}`, origin: { rule: 'substitute' } }
    : undefined
}

interface Loaded {
  readonly path: string
  readonly elf: ElfFile
}

function elfOf(planned: Planned): ElfFile | undefined {
  if (planned.type === 'stored') return planned.file.elf
  return planned.type === 'copy' ? planned.elf : undefined
}

function isForeign({ needed, interpreter }: ElfFile): boolean {
  return (
    needed.some(library => FOREIGN.test(library)) ||
    (interpreter !== undefined && FOREIGN.test(posix.basename(interpreter)))
  )
}

function* inFolders(folders: readonly string[], path: string, library: string): Generator<string> {
  for (const folder of folders) {
    const place = folder
      .replace(/\$(?:ORIGIN|\{ORIGIN\})/g, `/${posix.dirname(path)}`)
      .replace(/\$(?:LIB|\{LIB\})/g, 'lib/x86_64-linux-gnu')
      .replace(/\$(?:PLATFORM|\{PLATFORM\})/g, 'x86_64')
    // A relative one depends on where the program is started; nobody can mean that.
    if (place.startsWith('/')) yield posix.normalize(`${place}/${library}`)
  }
}

const SHOWN = 8

function missingFault(missing: readonly Missing[]): ImageError {
  const byLibrary = new Map<string, Missing[]>()
  for (const one of missing) {
    byLibrary.set(one.library, [...(byLibrary.get(one.library) ?? []), one])
  }
  const lines = [...byLibrary].slice(0, SHOWN).map(([library, [first, ...others]]) => {
    const artefact = first?.planned.origin.artefact
    const of = artefact === undefined ? '' : ` (${artefact.name} ${artefact.version})`
    const more = others.length === 0 ? '' : ` and ${others.length} more`
    return `${library}, needed by /${first?.path}${of}${more}`
  })
  if (byLibrary.size > SHOWN) lines.push(`and ${byLibrary.size - SHOWN} more`)
  return new ImageError(
    'LIBRARY',
    `missing: ${lines.join('; ')}. Add the Debian package that has it to debian.packages and lock again, or name it under missingLibraries`,
  )
}
