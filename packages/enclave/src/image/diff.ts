import { canonicalJson } from '@cloister/sealed'
import type { OriginPackage, Origins } from '../documents/origins.ts'
import { readOrigins } from './explain.ts'
import type { ImageEntry, ImageManifest } from './manifest.ts'
import { openImage } from './verify.ts'

/** A field of the manifest that differs. */
export interface FieldChange {
  /** Such as `environment.TZ`. */
  readonly field: string
  /** As JSON; undefined where an image does not have it. */
  readonly before: string | undefined
  readonly after: string | undefined
}

/** A package that is there once only, or in another version or with other bytes. */
export interface PackageChange {
  readonly name: string
  readonly kind: string
  readonly before: readonly string[]
  readonly after: readonly string[]
}

/** A file, folder or link that differs. */
export interface EntryChange {
  readonly path: string
  readonly change: 'added' | 'removed' | 'content' | 'mode' | 'type' | 'target'
  /** The package, or the rule, that it comes from. */
  readonly from: string
}

/** Why two images have different measurements. */
export interface ImageDifference {
  readonly measurements: readonly [string, string]
  readonly same: boolean
  readonly fields: readonly FieldChange[]
  readonly packages: readonly PackageChange[]
  readonly entries: readonly EntryChange[]
}

/** Everything that is measured besides files, as leaves. */
function* leaves(value: unknown, field: string): Generator<readonly [string, string]> {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (isMap && Object.keys(value).length > 0) {
    for (const [name, inner] of Object.entries(value)) {
      yield* leaves(inner, field === '' ? name : `${field}.${name}`)
    }
  } else if (!isMap) {
    yield [field, canonicalJson(value)]
  }
}

function statements(manifest: ImageManifest): ReadonlyMap<string, string> {
  const { files: _files, merkleRoot: _root, documents: _documents, ...rest } = manifest
  return new Map(leaves(rest, ''))
}

function changedFields(before: ImageManifest, after: ImageManifest): readonly FieldChange[] {
  const [one, other] = [statements(before), statements(after)]
  return [...new Set([...one.keys(), ...other.keys()])]
    .filter(field => one.get(field) !== other.get(field))
    .sort()
    .map(field => ({ field, before: one.get(field), after: other.get(field) }))
}

function versions(packages: readonly OriginPackage[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const { kind, name, version, sha256 } of packages) {
    const key = `${kind} ${name}`
    found.set(key, [...(found.get(key) ?? []), `${version} (${sha256.slice(0, 12)})`])
  }
  return found
}

function changedPackages(before: Origins, after: Origins): readonly PackageChange[] {
  const [one, other] = [versions(before.packages), versions(after.packages)]
  return [...new Set([...one.keys(), ...other.keys()])].sort().flatMap(key => {
    const [was, is] = [one.get(key) ?? [], other.get(key) ?? []]
    if (was.join() === is.join()) return []
    const [kind = '', name = ''] = key.split(' ')
    return [{ kind, name, before: was, after: is }]
  })
}

function changeOf(before: ImageEntry, after: ImageEntry): EntryChange['change'] | undefined {
  if (before.type !== after.type) return 'type'
  if (before.type === 'link') {
    return after.type === 'link' && before.target === after.target ? undefined : 'target'
  }
  if (before.type !== 'file' || after.type !== 'file') return undefined
  if (before.sha256 !== after.sha256) return 'content'
  return before.mode === after.mode ? undefined : 'mode'
}

function originOf(path: string, { entries, packages }: Origins): string {
  const found = entries[path]
  const from = found?.package === undefined ? undefined : packages[found.package]
  return from === undefined ? (found?.rule ?? 'parent') : `${from.name} ${from.version}`
}

interface Side {
  readonly manifest: ImageManifest
  readonly origins: Origins
}

function changedEntries(before: Side, after: Side): readonly EntryChange[] {
  const one = new Map(before.manifest.files.map(entry => [entry.path, entry]))
  const other = new Map(after.manifest.files.map(entry => [entry.path, entry]))
  const changes: EntryChange[] = []
  for (const path of [...new Set([...one.keys(), ...other.keys()])].sort()) {
    const [was, is] = [one.get(path), other.get(path)]
    const from = originOf(path, is === undefined ? before.origins : after.origins)
    if (was === undefined) changes.push({ path: `/${path}`, change: 'added', from })
    else if (is === undefined) changes.push({ path: `/${path}`, change: 'removed', from })
    else {
      const change = changeOf(was, is)
      if (change !== undefined) changes.push({ path: `/${path}`, change, from })
    }
  }
  return changes
}

/**
 * Says why two images have different measurements: by what they state, by packages, by files.
 * @throws ImageError when one of them is not what was signed
 */
export async function diffImages(before: string, after: string): Promise<ImageDifference> {
  const [one, other] = [await openImage(before), await openImage(after)]
  const [was, is] = [await readOrigins(before), await readOrigins(after)]
  return {
    measurements: [one.measurement, other.measurement],
    same: one.measurement === other.measurement,
    fields: changedFields(was.manifest, is.manifest),
    packages: changedPackages(was.origins, is.origins),
    entries: changedEntries(was, is),
  }
}
