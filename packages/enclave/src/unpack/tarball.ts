import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { ArchiveBudget } from '../archive/budget.ts'
import type { ArchiveEntry } from '../archive/entry.ts'
import { readTar } from '../archive/tar.ts'
import { LockError } from '../lock/errors.ts'
import type { Artefact, ArtefactOf } from '../lock/format.ts'
import type { Store } from '../store/store.ts'
import { TreeBuilder } from './tree-builder.ts'

async function* entriesOf(
  name: string,
  artefact: Artefact,
  store: Store,
): AsyncGenerator<ArchiveEntry> {
  const packed = createReadStream(store.path(artefact.sha256))
  const unpacked = createGunzip()
  packed.on('error', error => unpacked.destroy(error))
  packed.pipe(unpacked)
  try {
    yield* readTar(name, unpacked, new ArchiveBudget(name, artefact.size))
  } finally {
    packed.destroy()
  }
}

/** The path below the archive's one top folder, whatever that is called. */
function belowTop(path: string): string {
  const slash = path.indexOf('/')
  return slash === -1 ? '' : path.slice(slash + 1)
}

function nameOf(artefact: Artefact): string {
  return `${artefact.name} ${artefact.version}`
}

/**
 * Unpacks an npm package as npm does: below its top folder, links left out, no script run.
 * @throws LockError ARCHIVE, ARTEFACT_IDENTITY
 */
export async function unpackNpm(artefact: ArtefactOf<'npm'>, store: Store): Promise<TreeBuilder> {
  const name = nameOf(artefact)
  const builder = new TreeBuilder(name, artefact.sha256, store)
  for await (const entry of entriesOf(name, artefact, store)) {
    const path = belowTop(entry.path)
    if (path === '' || entry.type === 'dir') continue
    if (entry.type === 'file') await builder.add(path, entry)
    else builder.notice(`${path}: links in npm packages are left out`)
  }
  const manifest = builder.file('package.json')
  if (manifest === undefined) throw new LockError('ARCHIVE', `${name}: it has no package.json`)
  assertIdentity(artefact, await store.read(manifest.sha256))
  return builder
}

function assertIdentity(artefact: ArtefactOf<'npm'>, bytes: Uint8Array): void {
  let seen: string
  try {
    const { name, version } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<
      string,
      unknown
    >
    seen = `${name} ${version}`
  } catch (cause) {
    throw new LockError('ARCHIVE', `${nameOf(artefact)}: package.json is not JSON`, { cause })
  }
  // A package.json may spell its version with a "v" in front; npm does not mind.
  if (seen.replace(/ v(?=[0-9])/, ' ') !== nameOf(artefact)) {
    const message = `${artefact.sha256}: wanted ${nameOf(artefact)}, seen ${seen}`
    throw new LockError('ARTEFACT_IDENTITY', message)
  }
}

/**
 * Unpacks Node itself: the program and its licence, nothing else of it.
 * @throws LockError ARCHIVE
 */
export async function unpackNode(artefact: ArtefactOf<'node'>, store: Store): Promise<TreeBuilder> {
  const name = nameOf(artefact)
  const builder = new TreeBuilder(name, artefact.sha256, store)
  for await (const entry of entriesOf(name, artefact, store)) {
    const path = belowTop(entry.path)
    if (entry.type !== 'file') continue
    if (path === 'bin/node') await builder.bytes('node', entry.content, '0755')
    else if (path === 'LICENSE') await builder.bytes('node.LICENSE', entry.content)
  }
  if (builder.file('node') === undefined) throw new LockError('ARCHIVE', `${name}: no bin/node`)
  return builder
}

/**
 * Unpacks a Python source archive. Nothing of it is run: the definition says which of its folders
 * make the package.
 * @throws LockError ARCHIVE
 */
export async function unpackSdist(
  artefact: ArtefactOf<'sdist'>,
  store: Store,
): Promise<TreeBuilder> {
  const builder = new TreeBuilder(artefact.file, artefact.sha256, store)
  for await (const entry of entriesOf(artefact.file, artefact, store)) {
    const path = belowTop(entry.path)
    if (path === '') continue
    if (entry.type === 'hardlink') builder.copy(path, belowTop(entry.target))
    else await builder.add(path, entry)
  }
  return builder
}
