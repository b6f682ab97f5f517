import { createHash } from 'node:crypto'
import { canonicalJsonBytes } from '@cloister/sealed'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { MeasuredEntrySchema } from '../definition/entry.ts'
import { Mode, Sha256Hex, strict, VariableName } from '../definition/fields.ts'
import { MountsSchema, mountTargets } from '../definition/mounts.ts'
import { NetworkSchema } from '../definition/network.ts'
import { MeasuredResourcesSchema } from '../definition/resources.ts'
import { EnclaveDefinitionSchema, IdentitySchema } from '../definition/schema.ts'
import { ImageError } from './errors.ts'
import { merkleRoot } from './merkle.ts'

/** Longest manifest in bytes. */
export const MAX_MANIFEST = 32 * 1024 * 1024

/** Folders that every image has, empty, for the launcher to mount on. */
export const MOUNT_POINTS = ['dev', 'in', 'job', 'out', 'proc', 'run', 'tmp'] as const

// Below the root, in normal form. No replacement character: it stands for bytes that are no UTF-8.
const PATH =
  '^(?!\\.{1,2}(?:/|$))[^/\\u0000-\\u001f\\u007f\\ufffd]+(?:/(?!\\.{1,2}(?:/|$))[^/\\u0000-\\u001f\\u007f\\ufffd]+)*$'
const Path = Type.String({ pattern: PATH, maxLength: 1024 })

const EntrySchema = Type.Union([
  Type.Object({ path: Path, type: Type.Literal('dir'), mode: Type.Literal('0755') }, strict),
  Type.Object(
    {
      path: Path,
      type: Type.Literal('file'),
      mode: Mode,
      size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
      sha256: Sha256Hex,
      fsVerity: Sha256Hex,
    },
    strict,
  ),
  Type.Object(
    {
      path: Path,
      type: Type.Literal('link'),
      target: Type.String({ minLength: 1, maxLength: 1024 }),
    },
    strict,
  ),
])

const definition = EnclaveDefinitionSchema.properties

const ManifestSchema = Type.Object(
  {
    version: Type.Literal(1),
    name: definition.name,
    entry: MeasuredEntrySchema,
    environment: Type.Record(VariableName, Type.String(), strict),
    environmentFromJob: Type.Array(VariableName, { uniqueItems: true }),
    network: NetworkSchema,
    mounts: MountsSchema,
    identity: Type.Composite(
      [Type.Omit(IdentitySchema, ['debug']), Type.Object({ debug: Type.Boolean() })],
      strict,
    ),
    resources: MeasuredResourcesSchema,
    documents: Type.Object({ origins: Sha256Hex, sbom: Sha256Hex }, strict),
    files: Type.Array(EntrySchema, { maxItems: 1_000_000 }),
    merkleRoot: Sha256Hex,
  },
  strict,
)

/** One file, folder or link of an image; `path` is relative to its root, `mode` octal. */
export type ImageEntry = Static<typeof EntrySchema>

/** What an image is: everything that its measurement covers. */
export type ImageManifest = Static<typeof ManifestSchema>

/** Order of entries: by the bytes of their paths. */
export function comparePaths(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** Whether `path` can stand in an image. */
export function isImagePath(path: string): boolean {
  // Names that look alike are the same: Unicode in normal form C alone.
  return Value.Check(Path, path) && path === path.normalize('NFC')
}

/**
 * Whether a link at `path` with `target` stays inside the image wherever it is followed from. A
 * target climbs first and then descends: climbing after a descent could start from where another
 * link leads.
 */
export function isInnerLink(path: string, target: string): boolean {
  const parts = target.split('/')
  const climbs = parts.findIndex(part => part !== '..')
  const rest = climbs === -1 ? [] : parts.slice(climbs)
  const up = parts.length - rest.length
  const depth = path.split('/').length - 1
  return up <= depth && (rest.length === 0 || isImagePath(rest.join('/')))
}

/** Root over the entries: each leaf is an entry in RFC 8785 JSON. */
export function entriesRoot(entries: readonly ImageEntry[]): string {
  return Buffer.from(merkleRoot(entries.map(canonicalJsonBytes))).toString('hex')
}

function bad(message: string): ImageError {
  return new ImageError('MANIFEST', `manifest.json: ${message}`)
}

function assertTree(entries: readonly ImageEntry[], mountedOn: readonly string[]): void {
  const types = new Map<string, ImageEntry['type']>()
  let last: string | undefined
  for (const entry of entries) {
    if (last !== undefined && comparePaths(last, entry.path) >= 0) {
      throw bad(`${entry.path} is not in order`)
    }
    last = entry.path
    if (!isImagePath(entry.path)) throw bad(`${entry.path} is not in Unicode normal form C`)
    const slash = entry.path.lastIndexOf('/')
    // Sorted, so a parent was seen before; nothing stands below a file or a link.
    if (slash !== -1 && types.get(entry.path.slice(0, slash)) !== 'dir') {
      throw bad(`${entry.path} is not in a folder of the image`)
    }
    if (entry.type === 'link' && !isInnerLink(entry.path, entry.target)) {
      throw new ImageError('LINK', `${entry.path} leads outside the image, to ${entry.target}`)
    }
    types.set(entry.path, entry.type)
  }
  for (const path of [...MOUNT_POINTS, ...mountedOn]) {
    if (types.get(path) !== 'dir') throw bad(`the folder ${path} is missing`)
    if (entries.some(entry => entry.path.startsWith(`${path}/`))) throw bad(`${path} is not empty`)
  }
}

/**
 * Reads a manifest.
 * @param bytes - `manifest.json`: RFC 8785, to the byte.
 * @throws ImageError with `MANIFEST`, or `LINK` for a link that leads outside.
 */
export function parseManifest(bytes: Uint8Array): ImageManifest {
  if (bytes.length > MAX_MANIFEST) throw bad(`longer than ${MAX_MANIFEST} bytes`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw bad('not JSON')
  }
  if (!Value.Check(ManifestSchema, value)) {
    const first = Value.Errors(ManifestSchema, value).First()
    throw bad(`${first?.path || '/'}: ${first?.message ?? 'not a manifest'}`)
  }
  if (Buffer.compare(canonicalJsonBytes(value), bytes) !== 0) throw bad('not in RFC 8785 form')
  assertTree(
    value.files,
    mountTargets(value.mounts).map(path => path.slice(1)),
  )
  const root = entriesRoot(value.files)
  if (root !== value.merkleRoot) {
    throw bad(`Merkle root: wanted ${root}, seen ${value.merkleRoot}`)
  }
  return value
}

/** A manifest, and the bytes that say it. */
export interface EncodedManifest {
  readonly manifest: ImageManifest
  readonly bytes: Uint8Array
}

/**
 * Completes and writes a manifest: sorts the entries and computes their root.
 * @throws ImageError with `MANIFEST`, `LINK` when it could not be read again.
 */
export function encodeManifest(manifest: Omit<ImageManifest, 'merkleRoot'>): EncodedManifest {
  const files = [...manifest.files].sort((a, b) => comparePaths(a.path, b.path))
  const bytes = canonicalJsonBytes({ ...manifest, files, merkleRoot: entriesRoot(files) })
  return { bytes, manifest: parseManifest(bytes) }
}

/** SHA-256 of a document beside the manifest, as the manifest says it. */
export function documentDigest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
