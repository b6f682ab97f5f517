import { posix } from 'node:path'
import { linkDestination, relativeTarget } from '../archive/entry.ts'
import type { Tree, TreeEntry } from '../archive/tree.ts'
import type { EnclaveDefinition } from '../definition/schema.ts'
import type { ArtefactOf } from '../lock/format.ts'
import { ImageError } from './errors.ts'
import { matching } from './globs.ts'
import { LEFT_OUT_OF_DEBS, leftOut } from './left-out.ts'
import { MOUNT_POINTS } from './manifest.ts'
import type { Origin } from './origin.ts'
import type { Plan, Planned } from './plan.ts'

type Deb = ArtefactOf<'deb'>

interface Found {
  readonly entry: TreeEntry
  readonly deb: Deb
}

const COPYRIGHT = /^usr\/share\/doc\/[^/]+\/copyright$/
const MOUNTED = new RegExp(`^(?:${MOUNT_POINTS.join('|')})(?:/|$)`)

/** Links that maintainer scripts make through the alternatives system: the first that is there. */
const ALTERNATIVES: readonly (readonly [link: string, candidates: readonly RegExp[]])[] = [
  ['usr/bin/sh', [/^usr\/bin\/dash$/]],
  ['usr/bin/awk', [/^usr\/bin\/mawk$/, /^usr\/bin\/gawk$/, /^usr\/bin\/original-awk$/]],
  ['usr/bin/which', [/^usr\/bin\/which\.debianutils$/]],
  ['usr/bin/java', [/^usr\/lib\/jvm\/java-\d+-openjdk-amd64\/bin\/java$/]],
  ['usr/bin/keytool', [/^usr\/lib\/jvm\/java-\d+-openjdk-amd64\/bin\/keytool$/]],
  [
    'usr/lib/x86_64-linux-gnu/libblas.so.3',
    [/^usr\/lib\/x86_64-linux-gnu\/openblas-\w+\/libblas\.so\.3$/, /\/blas\/libblas\.so\.3$/],
  ],
  [
    'usr/lib/x86_64-linux-gnu/liblapack.so.3',
    [/^usr\/lib\/x86_64-linux-gnu\/openblas-\w+\/liblapack\.so\.3$/, /\/lapack\/liblapack\.so\.3$/],
  ],
]

/** The system that the locked Debian packages make, before it is decided what of it goes in. */
export class LockedRoot {
  readonly #entries = new Map<string, Found>()

  /**
   * @param packages - Every locked Debian package, unpacked.
   * @throws ImageError CONFLICT when two packages hold different files at one path
   */
  constructor(packages: readonly (readonly [Deb, Tree])[]) {
    for (const [deb, tree] of packages) {
      for (const entry of tree.entries) this.#add(entry, deb)
    }
    for (const [link, candidates] of ALTERNATIVES) this.#alternative(link, candidates)
  }

  /** What is at a path, links not followed. */
  get(path: string): Planned | undefined {
    const found = this.#entries.get(path)
    return found === undefined ? undefined : plannedOf(found, { rule: 'library' })
  }

  /** Everything, in order of paths. */
  paths(): readonly string[] {
    return [...this.#entries.keys()].sort()
  }

  /**
   * Puts what the definition asks for in the plan. Of a minimal root that is what the named
   * packages hold, and what `keep` names; the rest is there to be asked for.
   */
  select(plan: Plan, debian: NonNullable<EnclaveDefinition['debian']>): void {
    const { minimal = true, keep = [] } = debian
    const isLeftOut = leftOut(LEFT_OUT_OF_DEBS, debian)
    const kept = matching(keep)
    const dropped = matching(debian.drop ?? [])
    for (const path of this.paths()) {
      const found = this.#entries.get(path)
      if (found === undefined || MOUNTED.test(path)) continue
      const absolute = `/${path}`
      if (isLeftOut(absolute) && !(COPYRIGHT.test(path) && !dropped(absolute))) continue
      const isKept = kept(absolute)
      if (minimal && !found.deb.listed && !isKept) continue
      if (COPYRIGHT.test(path) && !isKept && found.entry.type !== 'file') continue
      const rule = isKept ? 'debian.keep' : 'debian.packages'
      putPlanned(plan, path, plannedOf(found, { rule }))
    }
  }

  /** Puts the licence of each package of which something is in the plan beside it. */
  selectLicences(plan: Plan): void {
    const used = new Set<string>()
    for (const { origin } of plan.result.values()) {
      if (origin.artefact?.kind === 'deb') used.add(origin.artefact.name)
    }
    for (const name of used) {
      // Packages of one source share a licence: the folder of one is a link to another's.
      const found = follow(`usr/share/doc/${name}/copyright`, path => this.get(path))
      if (found?.planned.type !== 'stored' || plan.has(found.path)) continue
      plan.put(found.path, {
        ...found.planned,
        origin: { ...found.planned.origin, rule: 'licence' },
      })
    }
  }

  #add(entry: TreeEntry, deb: Deb): void {
    const there = this.#entries.get(entry.path)
    if (there === undefined) {
      this.#entries.set(entry.path, { entry, deb })
      return
    }
    if (there.entry.type === 'dir' && entry.type === 'dir') return
    if (sameContent(there.entry, entry)) return
    const message = `/${entry.path} is in ${there.deb.name} and, otherwise, in ${deb.name}`
    throw new ImageError('CONFLICT', message)
  }

  #alternative(link: string, candidates: readonly RegExp[]): void {
    if (this.#entries.has(link)) return
    const paths = this.paths()
    for (const candidate of candidates) {
      const path = paths.find(name => candidate.test(name))
      const found = path === undefined ? undefined : this.#entries.get(path)
      if (path === undefined || found === undefined) continue
      const target = relativeTarget(link, path)
      this.#entries.set(link, { entry: { path: link, type: 'link', target }, deb: found.deb })
      return
    }
  }
}

/** Puts a folder or anything else. */
export function putPlanned(plan: Plan, path: string, planned: Planned): void {
  if (planned.type === 'dir') plan.folder(path, planned.origin)
  else plan.put(path, planned)
}

/** Something of an unpacked package as something of an image. */
export function plannedOfEntry(entry: TreeEntry, origin: Origin): Planned {
  switch (entry.type) {
    case 'dir':
      return { type: 'dir', origin }
    case 'link':
      return { type: 'link', target: entry.target, origin }
    case 'file':
      return { type: 'stored', file: entry, mode: Number.parseInt(entry.mode, 8), origin }
  }
}

function plannedOf({ entry, deb }: Found, origin: Origin): Planned {
  return plannedOfEntry(entry, { ...origin, artefact: deb })
}

function sameContent(one: TreeEntry, other: TreeEntry): boolean {
  if (one.type === 'link') return other.type === 'link' && one.target === other.target
  return one.type === 'file' && other.type === 'file' && one.sha256 === other.sha256
}

/** Links that a merged /usr has at the top. */
export const MERGED_LINKS = ['bin', 'lib', 'lib64', 'sbin'] as const

/**
 * Follows links, of folders too, to where a path really is.
 * @param at - What is at a path, links not followed.
 * @returns the real path and what is there; undefined where nothing is, or links go in circles
 */
export function follow(
  path: string,
  at: (path: string) => Planned | undefined,
):
  | { readonly path: string; readonly planned: Planned; readonly links: readonly string[] }
  | undefined {
  const links: string[] = []
  let rest = posix.normalize(path.replace(/^\/+/, '')).split('/')
  let done: string[] = []
  while (rest.length > 0) {
    const [name = '', ...after] = rest
    const here = [...done, name].join('/')
    const planned = at(here)
    if (planned?.type === 'link') {
      if (links.length > 40) return undefined
      links.push(here)
      const destination = linkDestination(here, planned.target)
      if (destination === undefined) return undefined
      rest = [...destination.split('/'), ...after]
      done = []
      continue
    }
    if (after.length === 0) {
      return planned === undefined ? undefined : { path: here, planned, links }
    }
    done = [...done, name]
    rest = after
  }
  return undefined
}
