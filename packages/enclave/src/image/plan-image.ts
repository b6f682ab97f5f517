import { realpath, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { linkDestination, relativeTarget } from '../archive/entry.ts'
import type { Tree } from '../archive/tree.ts'
import { putCopyBoms } from '../bom/put.ts'
import { mountTargets } from '../definition/mounts.ts'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { LockError } from '../lock/errors.ts'
import type { Artefact, Lock } from '../lock/format.ts'
import type { Store } from '../store/store.ts'
import { bundle } from './bundle.ts'
import { putBytecode } from './bytecode.ts'
import { LibraryClosure } from './closure.ts'
import { sharedLibraries } from './host-libraries.ts'
import { INIT_COMMAND, putCompiledInit, putInit } from './init.ts'
import { LockedRoot } from './locked-root.ts'
import { MOUNT_POINTS } from './manifest.ts'
import { putJar, putNode, putNpm, putSdist, putWheel } from './packages.ts'
import { type ImagePlan, Plan } from './plan.ts'
import { type PutFile, putSource, sourceFault } from './sources.ts'
import { putHosts, putSubstitutes } from './substitutes.ts'

/** Locked packages, and where their files are kept. */
export interface LockedPackages {
  readonly lock: Lock
  readonly store: Store
}

/** Whether an image consists of locked packages, of whose files alone programs are loaded. */
export function isLocked({ entry, debian, python, npm, maven, node }: EnclaveDefinition): boolean {
  return entry.init === undefined || [debian, python, npm, maven, node].some(Boolean)
}

/**
 * Finds out what an image is to hold. Writes nothing but what the store remembers.
 * @param baseDir - What the definition's paths are relative to.
 * @param packages - For definitions that name packages.
 * @throws ImageError with `SOURCE`, `CONFLICT`, `LIBRARY`, `BUNDLE`; LockError.
 */
export async function planImage(
  definition: EnclaveDefinition,
  baseDir: string,
  packages?: LockedPackages,
): Promise<ImagePlan> {
  const plan = new Plan()
  for (const path of MOUNT_POINTS) plan.folder(path, { rule: 'cloister' })
  for (const path of mountTargets(definition.mounts ?? {}))
    plan.folder(path.slice(1), { rule: 'mounts' })
  if (packages === undefined) {
    if (isLocked(definition)) {
      throw new LockError('LOCK_MISSING', 'the definition names packages, and no lock was given')
    }
    await putOwn(plan, definition, baseDir)
    await putLinks(plan, definition)
    putHosts(plan, definition.network)
    return plan.result
  }
  await putLocked(plan, definition, baseDir, packages)
  return plan.result
}

async function putLocked(
  plan: Plan,
  definition: EnclaveDefinition,
  baseDir: string,
  { lock, store }: LockedPackages,
): Promise<void> {
  // Readers of archives take a moment to load, and most commands need none.
  const { unpacked } = await import('../unpack/unpack.ts')
  const trees: (readonly [Artefact, Tree])[] = []
  for (const artefact of lock.artefacts) trees.push([artefact, await unpacked(artefact, store)])
  const root = new LockedRoot(
    trees.flatMap(([artefact, tree]) =>
      artefact.kind === 'deb' ? [[artefact, tree] as const] : [],
    ),
  )
  root.select(plan, definition.debian ?? { packages: [] })
  for (const [artefact, tree] of trees) putPackage(plan, artefact, tree, definition)
  await putOwn(plan, definition, baseDir)
  await putCopyBoms(plan, root, definition.copyBom ?? [], baseDir)
  if (definition.entry.init === undefined) await putInit(plan)
  await putLinks(plan, definition)
  const closure = new LibraryClosure(plan, root, definition.environment?.['LD_LIBRARY_PATH'])
  for (const path of entryPaths(definition)) closure.require(path, 'entry')
  closure.run(definition.missingLibraries ?? [])
  putHosts(plan, definition.network)
  await putSubstitutes(plan, store)
  if (definition.python?.bytecode !== false) await putBytecode(plan, store)
  if (definition.entry.init === undefined) await putCompiledInit(plan, store)
  root.selectLicences(plan)
}

/** The files that the image's commands begin with. */
export function entryPaths({ entry }: EnclaveDefinition): readonly string[] {
  const others = Object.values(entry.others ?? {}).map(({ program }) => program)
  const executor = entry.executor === undefined ? [] : [entry.executor.program]
  const all = [entry.init ?? INIT_COMMAND, entry.program, ...executor, ...others]
  return all.map(([path = '']) => path)
}

function putPackage(
  plan: Plan,
  artefact: Artefact,
  tree: Tree,
  { python, npm, maven, node }: EnclaveDefinition,
): void {
  switch (artefact.kind) {
    case 'deb':
      return
    case 'wheel':
      if (python !== undefined) putWheel(plan, artefact, tree, python)
      return
    case 'sdist':
      if (python !== undefined) putSdist(plan, artefact, tree, python)
      return
    case 'npm':
      if (npm !== undefined) putNpm(plan, artefact, tree, npm)
      return
    case 'jar':
      if (maven !== undefined) putJar(plan, artefact, tree, maven)
      return
    case 'node':
      putNode(plan, artefact, tree, node === true)
  }
}

/** Puts what the definition takes from the building machine, with libraries where it says so. */
async function putOwn(plan: Plan, definition: EnclaveDefinition, baseDir: string): Promise<void> {
  const asking: PutFile[] = []
  for (const [index, file] of (definition.files ?? []).entries()) {
    const found = await putSource(plan, file, baseDir, { rule: `files[${index}]` })
    if (file.libraries === true) asking.push(...found)
  }
  if (asking.length > 0 && isLocked(definition)) {
    throw sourceFault(
      "files: libraries: true takes this machine's libraries; this image's come from its locked packages",
    )
  }
  for (const [index, { entry, to, external = [] }] of (definition.bundles ?? []).entries()) {
    const from = await realpath(resolve(baseDir, entry)).catch((cause: unknown) => {
      throw sourceFault(`cannot read ${entry} (relative to ${baseDir})`, cause)
    })
    const bytes = await bundle({ entry: from, external })
    const origin = { rule: `bundles[${index}]` }
    plan.put(to.slice(1), { type: 'bytes', bytes, mode: 0o644, origin })
  }
  await putHostLibraries(plan, asking)
}

/** Puts each library in its place, unless the definition has put something there itself. */
async function putHostLibraries(plan: Plan, asking: readonly PutFile[]): Promise<void> {
  for (const { from, to } of asking) {
    for (const library of await sharedLibraries(from, `/${to}`)) {
      const place = library.to.slice(1)
      plan.need(place, `/${to}`)
      if (plan.has(place)) continue
      const real = await realpath(library.from)
      const mode = ((await stat(real)).mode & 0o100) === 0 ? 0o644 : 0o755
      const origin = { rule: 'library', neededBy: [`/${to}`] }
      plan.put(place, { type: 'copy', from: real, mode, origin })
    }
  }
}

function putLinks(plan: Plan, { links = {} }: EnclaveDefinition): void {
  for (const [path, target] of Object.entries(links)) {
    const from = path.slice(1)
    const destination = linkDestination(from, target)
    if (destination === undefined) throw sourceFault(`links: ${path} leads outside, to ${target}`)
    const origin = { rule: 'links' }
    plan.put(from, { type: 'link', target: relativeTarget(from, destination), origin })
  }
}
