import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { EnclaveDefinition } from '../definition/schema.ts'
import type { Store } from '../store/store.ts'
import { fetchDebs } from './debian.ts'
import { LockError } from './errors.ts'
import type { Artefact, ArtefactOf, Lock } from './format.ts'
import { fetchJars } from './maven.ts'
import { fetchNode, fetchNpm } from './npm.ts'
import { fetchWheels } from './python.ts'
import { fetchSource } from './python-source.ts'
import { lockInputs, needsNode, RUNTIME_DEBS, staleness } from './request.ts'

/** What to lock, and how. */
export interface LockOptions {
  readonly definition: EnclaveDefinition
  /** What the definition's paths are relative to. */
  readonly baseDir: string
  readonly store: Store
  /** The lock of before: kept as it is while the definition wants the same, unless `update`. */
  readonly previous?: Lock | undefined
  /** Looks for newer packages although nothing else is wanted. */
  readonly update?: boolean
  /** Told what is being fetched. */
  readonly onFetch?: (what: string) => void
}

/** A lock, and what there is to say about how it came about. */
export interface Locked {
  readonly lock: Lock
  /** Whether it is the lock of before; then only what the store lacked was fetched. */
  readonly kept: boolean
  /** npm packages whose install scripts were not run. */
  readonly withScripts: readonly string[]
}

/**
 * Locks every package of a definition by its SHA-256, and has each in the store. Packages come
 * through this machine's own tools and their mirrors; nothing of a package is run.
 * @throws LockError
 */
export async function lockPackages(options: LockOptions): Promise<Locked> {
  const inputs = await lockInputs(options.definition, options.baseDir)
  const { previous } = options
  if (
    previous !== undefined &&
    options.update !== true &&
    staleness(previous, inputs) === undefined
  ) {
    await restore(previous, options)
    return { lock: previous, kept: true, withScripts: [] }
  }
  const { artefacts, withScripts } = await fetchAll(options)
  const lock: Lock = { version: 1, architecture: 'amd64', inputs, artefacts: [...artefacts] }
  return { lock, kept: false, withScripts }
}

async function fetchAll(
  options: LockOptions,
): Promise<{ readonly artefacts: readonly Artefact[]; readonly withScripts: readonly string[] }> {
  const { definition, baseDir, store, onFetch = () => {} } = options
  const { debian, python, npm, maven } = definition
  const artefacts: Artefact[] = []
  let withScripts: readonly string[] = []
  const packages = [...(debian?.packages ?? []), ...(needsNode(definition) ? RUNTIME_DEBS : [])]
  if (packages.length > 0) {
    onFetch('Debian packages')
    const listed = new Set((debian?.packages ?? []).map(name => name.replace(/=.*$/, '')))
    artefacts.push(...(await fetchDebs({ packages: [...new Set(packages)], listed }, store)))
  }
  if (needsNode(definition)) {
    onFetch('Node')
    artefacts.push(await fetchNode(store))
  }
  if (python !== undefined) {
    onFetch('Python wheels')
    const requirements = await readFile(resolve(baseDir, python.requirements), 'utf8')
    const version = python.version ?? '3.11'
    const request = { requirements, name: python.requirements, version, complete: false }
    artefacts.push(...(await fetchWheels(request, store)))
    for (const [name, source] of Object.entries(python.sources ?? {})) {
      artefacts.push(await fetchSource(name, source.version, store))
    }
  }
  if (npm !== undefined) {
    onFetch('npm packages')
    const fetched = await fetchNpm(resolve(baseDir, npm.lockfile), store)
    artefacts.push(...fetched.artefacts)
    withScripts = fetched.withScripts
  }
  if (maven !== undefined) {
    onFetch('jars')
    artefacts.push(...(await fetchJars(resolve(baseDir, maven.pom), store)))
  }
  return { artefacts, withScripts }
}

async function missingOf(lock: Lock, store: Store): Promise<readonly Artefact[]> {
  const missing: Artefact[] = []
  for (const artefact of lock.artefacts) {
    if (!(await store.has(artefact.sha256))) missing.push(artefact)
  }
  return missing
}

function ofKind<Kind extends Artefact['kind']>(
  artefacts: readonly Artefact[],
  kind: Kind,
): readonly ArtefactOf<Kind>[] {
  return artefacts.filter((one): one is ArtefactOf<Kind> => one.kind === kind)
}

/** Fetches what the store lacks of a lock, and nothing else than what it names. */
async function restore(lock: Lock, options: LockOptions): Promise<void> {
  const { definition, baseDir, store, onFetch = () => {} } = options
  const missing = await missingOf(lock, store)
  if (missing.length === 0) return
  onFetch(`${missing.length} packages that the store lacks`)
  if (ofKind(missing, 'deb').length > 0) {
    const packages = ofKind(lock.artefacts, 'deb').map(({ name, version }) => `${name}=${version}`)
    await fetchDebs({ packages, listed: new Set() }, store)
  }
  const wheels = ofKind(missing, 'wheel')
  if (wheels.length > 0) {
    const requirements = wheels
      .map(({ name, version, sha256 }) => `${name}==${version} --hash=sha256:${sha256}\n`)
      .join('')
    const version = definition.python?.version ?? '3.11'
    await fetchWheels({ requirements, name: 'enclave.lock', version, complete: true }, store)
  }
  for (const { name, version } of ofKind(missing, 'sdist')) await fetchSource(name, version, store)
  if (ofKind(missing, 'node').length > 0) await fetchNode(store)
  if (definition.npm !== undefined && ofKind(missing, 'npm').length > 0) {
    await fetchNpm(resolve(baseDir, definition.npm.lockfile), store)
  }
  if (definition.maven !== undefined && ofKind(missing, 'jar').length > 0) {
    await fetchJars(resolve(baseDir, definition.maven.pom), store)
  }
  const [still] = await missingOf(lock, store)
  if (still === undefined) return
  throw new LockError(
    'DOWNLOAD',
    `${still.name} ${still.version} with SHA-256 ${still.sha256} is to be had no more`,
  )
}
