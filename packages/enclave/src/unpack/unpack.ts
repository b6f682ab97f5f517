import { createReadStream } from 'node:fs'
import { encodeTree, parseTree, type Tree } from '../archive/tree.ts'
import type { Artefact, ArtefactOf } from '../lock/format.ts'
import type { Store } from '../store/store.ts'
import { unpackDeb } from './deb.ts'
import { unpackNode, unpackNpm, unpackSdist } from './tarball.ts'
import { TreeBuilder } from './tree-builder.ts'
import { unpackWheel } from './wheel.ts'

/** Part of the name of what was unpacked before: another number when it is done otherwise. */
const HOW = 1

/**
 * What a package unpacks to. Done once for each package and store, and remembered.
 * @throws LockError ARTEFACT_MISSING, ARTEFACT_CHANGED, ARCHIVE, ARTEFACT_IDENTITY, TOOL
 */
export async function unpacked(artefact: Artefact, store: Store): Promise<Tree> {
  // Its name and version too: both were compared with what the package says of itself.
  const identity = `${artefact.name}@${artefact.version}`.replaceAll(/[^0-9A-Za-z.-]/g, '-')
  const name = `tree-${HOW}-${artefact.kind}-${artefact.sha256}-${identity}`.slice(0, 240)
  const known = await store.derived(name)
  if (known !== undefined) return parseTree(known, artefact.sha256)
  await store.verify(artefact.sha256)
  const { tree } = await unpack(artefact, store)
  await store.remember(name, encodeTree(tree))
  return tree
}

function unpack(artefact: Artefact, store: Store): Promise<TreeBuilder> {
  switch (artefact.kind) {
    case 'deb':
      return unpackDeb(artefact, store)
    case 'wheel':
      return unpackWheel(artefact, store)
    case 'sdist':
      return unpackSdist(artefact, store)
    case 'npm':
      return unpackNpm(artefact, store)
    case 'node':
      return unpackNode(artefact, store)
    case 'jar':
      return wrapJar(artefact, store)
  }
}

/** A jar is used packed. */
async function wrapJar(artefact: ArtefactOf<'jar'>, store: Store): Promise<TreeBuilder> {
  const builder = new TreeBuilder(artefact.file, artefact.sha256, store)
  await builder.bytes(artefact.file, createReadStream(store.path(artefact.sha256)))
  return builder
}
