import { posix } from 'node:path'
import type { Tree, TreeFile } from '../archive/tree.ts'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { CLOISTER_FOLDER } from '../init/compiled.ts'
import type { Artefact, ArtefactOf } from '../lock/format.ts'
import { normalizedProject } from '../lock/project-name.ts'
import { WHEEL_FOLDERS } from '../unpack/wheel-folders.ts'
import { ImageError } from './errors.ts'
import { LEFT_OUT_OF_NPM, LEFT_OUT_OF_WHEELS, leftOut } from './left-out.ts'
import { plannedOfEntry } from './locked-root.ts'
import type { Plan } from './plan.ts'

/** Where modules go unless the definition says otherwise: Debian's Python looks there. */
export function siteFolder({
  to,
  version = '3.11',
}: NonNullable<EnclaveDefinition['python']>): string {
  return (to ?? `/usr/local/lib/python${version}/dist-packages`).slice(1)
}

function* filesOf(tree: Tree, folder: string): Generator<readonly [path: string, file: TreeFile]> {
  const prefix = folder === '' ? '' : `${folder}/`
  for (const entry of tree.entries) {
    if (entry.type === 'file' && entry.path.startsWith(prefix)) {
      yield [entry.path.slice(prefix.length), entry]
    }
  }
}

/** Puts a wheel where an installer would. */
export function putWheel(
  plan: Plan,
  artefact: ArtefactOf<'wheel'>,
  tree: Tree,
  python: NonNullable<EnclaveDefinition['python']>,
): void {
  const isLeftOut = leftOut(LEFT_OUT_OF_WHEELS, python)
  const places = [
    [WHEEL_FOLDERS.site, siteFolder(python)],
    [WHEEL_FOLDERS.bin, 'usr/local/bin'],
    [WHEEL_FOLDERS.data, 'usr/local'],
  ] as const
  const origin = { rule: 'python.requirements', artefact }
  for (const [from, to] of places) {
    for (const [path, file] of filesOf(tree, from)) {
      const place = posix.join(to, path)
      if (!isLeftOut(`/${place}`)) plan.put(place, plannedOfEntry(file, origin))
    }
  }
}

/**
 * Puts the folders of a source archive that the definition names.
 * @throws ImageError SOURCE where it names none, or one that is not there
 */
export function putSdist(
  plan: Plan,
  artefact: ArtefactOf<'sdist'>,
  tree: Tree,
  python: NonNullable<EnclaveDefinition['python']>,
): void {
  const wanted = normalizedProject(artefact.name)
  const [, source] =
    Object.entries(python.sources ?? {}).find(([name]) => normalizedProject(name) === wanted) ?? []
  if (source === undefined) {
    throw new ImageError('SOURCE', `python.sources does not say what of ${artefact.file} goes in`)
  }
  const isLeftOut = leftOut(LEFT_OUT_OF_WHEELS, python)
  const origin = { rule: `python.sources.${artefact.name}`, artefact }
  for (const [from, to] of Object.entries(source.folders)) {
    const files = [...filesOf(tree, from.replace(/\/$/, ''))]
    if (files.length === 0)
      throw new ImageError('SOURCE', `${artefact.file} has nothing in ${from}`)
    for (const [path, file] of files) {
      const place = posix.join(siteFolder(python), to, path)
      if (!isLeftOut(`/${place}`)) plan.put(place, plannedOfEntry(file, origin))
    }
  }
}

/** Puts an npm package where its lock file says. */
export function putNpm(
  plan: Plan,
  artefact: ArtefactOf<'npm'>,
  tree: Tree,
  npm: NonNullable<EnclaveDefinition['npm']>,
): void {
  const isLeftOut = leftOut(LEFT_OUT_OF_NPM, npm)
  const origin = { rule: 'npm.lockfile', artefact }
  for (const [path, file] of filesOf(tree, '')) {
    const place = posix.join(npm.to.slice(1), artefact.path, path)
    if (!isLeftOut(`/${place}`)) plan.put(place, plannedOfEntry(file, origin))
  }
}

/** Puts a jar in the definition's folder. */
export function putJar(
  plan: Plan,
  artefact: ArtefactOf<'jar'>,
  tree: Tree,
  maven: NonNullable<EnclaveDefinition['maven']>,
): void {
  const origin = { rule: 'maven.pom', artefact }
  for (const [path, file] of filesOf(tree, '')) {
    plan.put(posix.join(maven.to.slice(1), path), plannedOfEntry(file, origin))
  }
}

/** Puts the Node that runs init; programs find it under its usual name when the definition says so. */
export function putNode(plan: Plan, artefact: Artefact, tree: Tree, forProgram: boolean): void {
  const origin = { rule: 'cloister', artefact }
  for (const [path, file] of filesOf(tree, '')) {
    plan.put(`${CLOISTER_FOLDER}/${path}`, plannedOfEntry(file, origin))
  }
  if (forProgram) {
    const target = `../../${CLOISTER_FOLDER}/node`
    plan.put('usr/bin/node', { type: 'link', target, origin: { rule: 'node', artefact } })
  }
}
