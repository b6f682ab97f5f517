import type { Stats } from 'node:fs'
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { bundle } from './bundle.ts'
import { ImageError } from './errors.ts'
import { sharedLibraries } from './libraries.ts'
import { isImagePath, isInnerLink, MOUNT_POINTS } from './manifest.ts'

/** What an image is to hold at one path. */
export type Planned =
  | { readonly type: 'dir' }
  | { readonly type: 'link'; readonly target: string }
  | { readonly type: 'copy'; readonly from: string; readonly mode: number }
  | { readonly type: 'bytes'; readonly bytes: Uint8Array; readonly mode: number }

/** Paths below the image's root, each with what belongs there. Parents are among them. */
export type ImagePlan = ReadonlyMap<string, Planned>

function source(message: string, cause?: unknown): ImageError {
  return new ImageError('SOURCE', message, { cause })
}

/** Permissions come from the definition, or from whether the owner may execute: never the umask. */
function modeOf(stats: Stats): number {
  return (stats.mode & 0o100) === 0 ? 0o644 : 0o755
}

class Plan {
  readonly #planned = new Map<string, Planned>()

  get result(): ImagePlan {
    return this.#planned
  }

  has(path: string): boolean {
    return this.#planned.has(path)
  }

  folder(path: string): void {
    this.#parents(path)
    const there = this.#planned.get(path)
    if (there !== undefined && there.type !== 'dir') throw conflict(path)
    this.#planned.set(path, { type: 'dir' })
  }

  put(path: string, planned: Planned): void {
    if (!isImagePath(path)) throw source(`${JSON.stringify(path)} cannot be a path in an image`)
    const first = path.split('/')[0] ?? ''
    if ((MOUNT_POINTS as readonly string[]).includes(first)) {
      throw new ImageError('CONFLICT', `/${path}: /${first} stays empty, it is mounted over`)
    }
    this.#parents(path)
    if (this.#planned.has(path)) throw conflict(path)
    this.#planned.set(path, planned)
  }

  #parents(path: string): void {
    const slash = path.lastIndexOf('/')
    if (slash !== -1) this.folder(path.slice(0, slash))
  }
}

function conflict(path: string): ImageError {
  return new ImageError('CONFLICT', `/${path} is wanted by two entries of the definition`)
}

/** A file's place, to be asked for its libraries once everything else has its place. */
interface Asking {
  readonly from: string
  readonly to: string
}

/** A folder of the building machine that is copied whole, and its place in the image. */
interface Tree {
  readonly from: string
  readonly to: string
}

/** Puts the folder at `path` of a tree in the plan; `path` is empty for the tree itself. */
async function putTree(plan: Plan, tree: Tree, path = ''): Promise<readonly Asking[]> {
  plan.folder(join(tree.to, path))
  const asking: Asking[] = []
  const names = await readdir(join(tree.from, path)).catch((cause: unknown) => {
    throw source(`cannot read ${join(tree.from, path)}`, cause)
  })
  for (const name of names.sort()) {
    const inner = join(path, name)
    const [from, to] = [join(tree.from, inner), join(tree.to, inner)]
    if (!isImagePath(to)) throw source(`${from}: its name cannot stand in an image`)
    const stats = await lstat(from).catch((cause: unknown) => {
      throw source(`cannot read ${from}`, cause)
    })
    if (stats.isDirectory()) {
      asking.push(...(await putTree(plan, tree, inner)))
    } else if (stats.isFile()) {
      plan.put(to, { type: 'copy', from, mode: modeOf(stats) })
      asking.push({ from, to })
    } else if (stats.isSymbolicLink()) {
      const target = await readlink(from)
      // Within the tree that is copied: what lies around it in the image may be another.
      if (!isInnerLink(inner, target)) {
        throw source(`${from} is a link that leads out of ${tree.from}, to ${target}`)
      }
      plan.put(to, { type: 'link', target })
    } else {
      throw source(`${from} is neither file, folder nor link`)
    }
  }
  return asking
}

async function putSource(
  plan: Plan,
  file: NonNullable<EnclaveDefinition['files']>[number],
  baseDir: string,
): Promise<readonly Asking[]> {
  let from: string
  let stats: Stats
  try {
    from = await realpath(resolve(baseDir, file.from))
    stats = await stat(from)
  } catch (cause) {
    throw source(`cannot read ${file.from} (relative to ${baseDir})`, cause)
  }
  const to = file.to.slice(1)
  if (stats.isFile()) {
    const mode = file.mode === undefined ? modeOf(stats) : Number.parseInt(file.mode, 8)
    plan.put(to, { type: 'copy', from, mode })
    return [{ from, to }]
  }
  if (!stats.isDirectory()) throw source(`${file.from} is neither file nor folder`)
  if (file.mode !== undefined) throw source(`${file.from} is a folder: mode is for single files`)
  return putTree(plan, { from, to })
}

/** Puts each library in its place, unless the definition has put something there itself. */
async function putLibraries(plan: Plan, asking: readonly Asking[]): Promise<void> {
  for (const { from, to } of asking) {
    for (const library of await sharedLibraries(from, `/${to}`)) {
      const place = library.to.slice(1)
      if (plan.has(place)) continue
      const real = await realpath(library.from)
      plan.put(place, { type: 'copy', from: real, mode: modeOf(await stat(real)) })
    }
  }
}

/**
 * Finds out what an image is to hold. Writes nothing.
 * @param baseDir - What the definition's paths are relative to.
 * @throws ImageError with `SOURCE`, `CONFLICT`, `LIBRARY`, `BUNDLE`.
 */
export async function planImage(
  definition: EnclaveDefinition,
  baseDir: string,
): Promise<ImagePlan> {
  const plan = new Plan()
  const asking: Asking[] = []
  for (const path of MOUNT_POINTS) plan.folder(path)
  for (const file of definition.files ?? []) {
    const found = await putSource(plan, file, baseDir)
    if (file.libraries === true) asking.push(...found)
  }
  for (const { entry, to, external = [] } of definition.bundles ?? []) {
    const from = await realpath(resolve(baseDir, entry)).catch((cause: unknown) => {
      throw source(`cannot read ${entry} (relative to ${baseDir})`, cause)
    })
    const bytes = await bundle({ entry: from, external })
    plan.put(to.slice(1), { type: 'bytes', bytes, mode: 0o644 })
  }
  await putLibraries(plan, asking)
  return plan.result
}
