import { createHash } from 'node:crypto'
import { readFile, realpath, stat } from 'node:fs/promises'
import { isAbsolute, join, posix, resolve } from 'node:path'
import { linkDestination, relativeTarget } from '../archive/entry.ts'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { readYamlFile } from '../definition/strict-yaml.ts'
import { follow, type LockedRoot, MERGED_LINKS } from '../image/locked-root.ts'
import { MOUNT_POINTS } from '../image/manifest.ts'
import type { Origin } from '../image/origin.ts'
import type { Plan, Planned } from '../image/plan.ts'
import { putFile, putFolder, sourceFault } from '../image/sources.ts'
import { mergedPath } from '../unpack/merged-path.ts'
import { type Bom, type BomCopy, parseBom } from './parse.ts'
import { rsyncExclusion } from './rsync-pattern.ts'

type CopyBom = NonNullable<EnclaveDefinition['copyBom']>[number]

const MAX_BOMS = 256

/**
 * Puts what copy_bom files ask for in the plan. Relative sources are of the definition's folder;
 * absolute ones of the locked packages, unless they lie in a folder that `hostFolders` names.
 * @throws DefinitionError, ImageError SOURCE, CONFLICT
 */
export async function putCopyBoms(
  plan: Plan,
  root: LockedRoot,
  boms: readonly CopyBom[],
  baseDir: string,
): Promise<void> {
  for (const [index, copyBom] of boms.entries()) {
    const putter = new BomPutter(plan, root, copyBom, baseDir, { rule: `copyBom[${index}]` })
    for (const bom of await withIncludes(copyBom, baseDir)) await putter.put(bom)
  }
}

/** A file and all that it includes, each once, the including before the included. */
async function withIncludes(
  { file, includeFolders = [] }: CopyBom,
  baseDir: string,
): Promise<readonly Bom[]> {
  const folders = [baseDir, ...includeFolders.map(folder => resolve(baseDir, folder))]
  const waiting = [resolve(baseDir, file)]
  const seen = new Set<string>()
  const boms: Bom[] = []
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (seen.has(path)) continue
    seen.add(path)
    if (seen.size > MAX_BOMS) throw sourceFault(`${file} includes more than ${MAX_BOMS} files`)
    const bom = parseBom(await readYamlFile(path), path)
    boms.push(bom)
    for (const name of bom.includes ?? []) waiting.push(await includedFile(name, path, folders))
  }
  return boms
}

async function includedFile(name: string, by: string, folders: readonly string[]): Promise<string> {
  for (const folder of folders) {
    const path = resolve(folder, name)
    if ((await stat(path).catch(() => undefined))?.isFile()) return path
  }
  throw sourceFault(`${by} includes ${name}, which is in none of ${folders.join(', ')}`)
}

class BomPutter {
  readonly #plan: Plan
  readonly #root: LockedRoot
  readonly #variables: Readonly<Record<string, string>>
  readonly #hostFolders: readonly string[]
  readonly #baseDir: string
  readonly #origin: Origin

  constructor(plan: Plan, root: LockedRoot, copyBom: CopyBom, baseDir: string, origin: Origin) {
    this.#plan = plan
    this.#root = root
    this.#variables = copyBom.variables ?? {}
    this.#hostFolders = (copyBom.hostFolders ?? []).map(folder => resolve(baseDir, folder))
    this.#baseDir = baseDir
    this.#origin = origin
  }

  async put({ targets = [], excludes = [] }: Bom): Promise<void> {
    for (const { target, mkdirs = [], createlinks = [], copy = [] } of targets) {
      const folder = this.#inImage(target)
      this.#folder(folder)
      for (const name of mkdirs) this.#folder(this.#inImage(join(folder, this.#expand(name))))
      for (const one of copy) await this.#copy(one, folder, excludes)
      for (const { src, linkname } of createlinks) this.#link(folder, src, linkname)
    }
  }

  #expand(text: string): string {
    return text.replaceAll(/\$(?:\{(\w+)\}|(\w+))/g, (written, braced?: string, bare?: string) => {
      const value = this.#variables[braced ?? bare ?? '']
      if (value !== undefined) return value
      throw sourceFault(`${written} has no value: give it one under copyBom[].variables`)
    })
  }

  /** A path of the image, relative to its root. */
  #inImage(written: string): string {
    const path = posix.normalize(posix.join('/', this.#expand(written))).slice(1)
    return mergedPath(path.replace(/\/$/, ''))
  }

  #folder(path: string): void {
    const isOwn = ([...MOUNT_POINTS, ...MERGED_LINKS] as readonly string[]).includes(path)
    if (path !== '' && !isOwn) this.#plan.folder(path, this.#origin)
  }

  #link(folder: string, src: string, linkname: string): void {
    const path = this.#inImage(join(folder, this.#expand(linkname)))
    const destination = linkDestination(path, this.#expand(src))
    if (destination === undefined)
      throw sourceFault(`createlinks: ${path} leads outside, to ${src}`)
    const target = relativeTarget(path, mergedPath(destination))
    this.#plan.put(path, { type: 'link', target, origin: this.#origin })
  }

  async #copy(
    { from, dirs, files }: BomCopy,
    target: string,
    excludes: readonly string[],
  ): Promise<void> {
    const base = from === undefined ? '' : this.#expand(from)
    if (dirs === undefined && files === undefined) {
      if (from === undefined) throw sourceFault('copy: wanted from, dirs or files')
      await this.#putFolder(`${base}/`, target, excludes)
      return
    }
    for (const name of dirs ?? []) {
      await this.#putFolder(joined(base, this.#expand(name)), target, excludes)
    }
    for (const file of files ?? []) {
      const {
        name,
        hash,
        autodep = true,
        rename,
      } = typeof file === 'string' ? { name: file, hash: undefined, rename: undefined } : file
      const source = joined(base, this.#expand(name))
      const to = posix.join(
        target,
        rename === undefined ? posix.basename(source) : this.#expand(rename),
      )
      await this.#putFile(source, to, { hash: hash?.toLowerCase(), autodep })
    }
  }

  /** Where a source is on this machine; undefined for one of the locked packages. */
  #onHost(source: string): string | undefined {
    if (!isAbsolute(source)) return resolve(this.#baseDir, source)
    const path = posix.normalize(source)
    const isNamed = this.#hostFolders.some(
      folder => path === folder || path.startsWith(`${folder}/`),
    )
    return isNamed ? path : undefined
  }

  async #putFile(
    source: string,
    to: string,
    { hash, autodep }: { readonly hash: string | undefined; readonly autodep: boolean },
  ): Promise<void> {
    const host = this.#onHost(source)
    if (host !== undefined) {
      const from = await realpath(host).catch((cause: unknown) => {
        throw sourceFault(`cannot read ${host}`, cause)
      })
      const isRight = hash === undefined || (await sha256Of(from)) === hash
      if (!isRight)
        throw sourceFault(`${from}: wanted SHA-256 ${hash}, seen ${await sha256Of(from)}`)
      await putFile(this.#plan, { from, to }, this.#origin)
      return
    }
    const { planned } = this.#locked(source)
    if (planned.type !== 'stored') throw sourceFault(`${source} is no file of the locked packages`)
    const { sha256, elf: _, ...file } = planned.file
    if (hash !== undefined && sha256 !== hash) {
      throw sourceFault(`${source}: wanted SHA-256 ${hash}, seen ${sha256}`)
    }
    const put = autodep ? planned : { ...planned, file: { ...file, sha256 } }
    this.#plan.put(to, { ...put, origin: { ...planned.origin, ...this.#origin } })
  }

  async #putFolder(source: string, target: string, excludes: readonly string[]): Promise<void> {
    const contentOnly = source.endsWith('/')
    const name = posix.basename(source)
    const to = contentOnly ? target : posix.join(target, name)
    const exclusion = rsyncExclusion(excludes)
    // Patterns that begin with a slash begin where the copy does, which has the name in it.
    const excluded = (path: string, isFolder: boolean) =>
      exclusion(contentOnly ? path : posix.join(name, path), isFolder)
    const host = this.#onHost(source)
    if (host !== undefined) {
      await putFolder(this.#plan, { from: host, to, origin: this.#origin, excluded })
      return
    }
    const { path: folder } = this.#locked(source)
    const inside = this.#root.paths().filter(path => path.startsWith(`${folder}/`))
    if (inside.length === 0) throw sourceFault(`${source} is no folder of the locked packages`)
    this.#folder(to)
    const left: string[] = []
    for (const path of inside) {
      const below = path.slice(folder.length + 1)
      const planned = this.#root.get(path)
      if (planned === undefined || left.some(out => below.startsWith(`${out}/`))) continue
      if (excluded(below, planned.type === 'dir')) left.push(below)
      else this.#putLocked(path, posix.join(to, below), planned)
    }
  }

  #putLocked(from: string, to: string, planned: Planned): void {
    const origin = { ...planned.origin, ...this.#origin }
    if (planned.type === 'dir') {
      this.#folder(to)
    } else if (planned.type === 'link') {
      const destination = linkDestination(from, planned.target)
      if (destination === undefined) return
      // Within what is copied it leads to the copy, from there to where it led.
      const kept = linkDestination(to, planned.target)
      const target = relativeTarget(
        to,
        kept !== undefined && this.#plan.has(kept) ? kept : destination,
      )
      this.#plan.put(to, { type: 'link', target, origin })
    } else {
      this.#plan.put(to, { ...planned, origin })
    }
  }

  #locked(source: string): { readonly path: string; readonly planned: Planned } {
    const path = mergedPath(posix.normalize(source).replace(/^\/+/, '').replace(/\/$/, ''))
    const found = follow(path, at => this.#root.get(at))
    if (found !== undefined) return found
    throw sourceFault(
      `${source} is in no locked package: add the one that has it to debian.packages, or name its folder under copyBom[].hostFolders`,
    )
  }
}

function joined(base: string, name: string): string {
  return base === '' || isAbsolute(name) ? name : `${base.replace(/\/+$/, '')}/${name}`
}

async function sha256Of(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
}
