import { createHash } from 'node:crypto'
import { canonicalJson, canonicalJsonBytes } from '../canonical-json.ts'
import { type Brand, type DatasetId, type FileId, HEADER_ALIGNMENT } from '../header.ts'
import { PAYLOAD_HEADER_LENGTH, TAG_LENGTH } from '../payload.ts'
import { type DatasetError, mismatch } from './errors.ts'
import { assertPathsOfTree, isPartPath } from './part-path.ts'

/** SHA-256 of an encoded manifest, 64 lower-case hexadecimal digits. */
export type ManifestDigest = Brand<string, 'ManifestDigest'>

/** Name of the file that holds a dataset's signed manifest. */
export const MANIFEST_NAME = 'manifest.jws'

/** Name of the file that keeps the manifest of one version, by its digest. */
export function manifestNameOf(digest: ManifestDigest): string {
  return `manifest-${digest}.jws`
}

/** Most parts in one dataset. */
export const MAX_PARTS = 100_000

/** Most bytes in a signed manifest, 64 MiB. */
export const MAX_MANIFEST_SIZE = 2 ** 26

/** Highest version number. */
export const MAX_DATASET_VERSION = 2 ** 32 - 1

/** Highest part number: what a sealed file's header holds. */
const MAX_PART_NUMBER = 2 ** 32 - 1

const DIGITS_32 = /^[0-9a-f]{32}$/
const DIGITS_64 = /^[0-9a-f]{64}$/
const PART_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$/
const MEDIA_TYPE = /^[\x20-\x7e]{1,255}$/
const MIN_PART_LENGTH = HEADER_ALIGNMENT + PAYLOAD_HEADER_LENGTH + TAG_LENGTH

/** What a manifest says of one part. */
export interface ManifestPart {
  /** File name in the dataset's folder: `A-Z a-z 0-9 . _ -`, no dot in front, at most 255. */
  readonly name: string
  readonly fileId: FileId
  /** SHA-256 of the sealed file's fixed part, 64 lower-case hexadecimal digits. */
  readonly fixedDigest: string
  /** Length of the whole sealed file in bytes. */
  readonly length: number
  /** Tag of the payload's last segment, 32 lower-case hexadecimal digits. */
  readonly lastTag: string
  /** Number of rows, or null where rows mean nothing. */
  readonly rows: number | null
  /** Where the file stands among the dataset's files, where that matters; see `isPartPath`. */
  readonly path?: string
  /** Part number in the sealed file's header, where that is not the part's place in the list. */
  readonly number?: number
}

/** One version of a dataset: the list of its parts. */
export interface Manifest {
  readonly datasetId: DatasetId
  /** From 1 up. */
  readonly version: number
  /** Digest of the manifest of the version before; null for version 1, and only for it. */
  readonly previous: ManifestDigest | null
  readonly mediaType: string
  readonly parts: readonly ManifestPart[]
}

function wrong(field: string, wanted: string, seen: unknown): DatasetError {
  return mismatch('MANIFEST_FORMAT', `manifest field ${field}`, wanted, seen)
}

function fieldsOf(
  value: unknown,
  count: number,
  field: string,
  optional: readonly string[] = [],
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(field, 'an object', Array.isArray(value) ? 'an array' : value)
  }
  const keys = Object.keys(value).filter(key => !optional.includes(key))
  if (keys.length !== count) throw wrong(field, `${count} fields`, keys)
  return value as Record<string, unknown>
}

function textOf(value: unknown, pattern: RegExp, field: string): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw wrong(field, `${pattern}`, value)
  return value
}

function integerOf(value: unknown, min: number, max: number, field: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw wrong(field, `an integer from ${min} to ${max}`, value)
  }
  return value
}

function partFrom(value: unknown, index: number): ManifestPart {
  const at = `parts[${index}]`
  const fields = fieldsOf(value, 6, at, ['path', 'number'])
  const { name, fileId, fixedDigest, length, lastTag, rows, path, number } = fields
  const checkedName = textOf(name, PART_NAME, `${at}.name`)
  if (/^manifest[-.]/.test(checkedName)) throw wrong(`${at}.name`, 'another name', name)
  return {
    name: checkedName,
    fileId: textOf(fileId, DIGITS_32, `${at}.fileId`) as FileId,
    fixedDigest: textOf(fixedDigest, DIGITS_64, `${at}.fixedDigest`),
    length: integerOf(length, MIN_PART_LENGTH, Number.MAX_SAFE_INTEGER, `${at}.length`),
    lastTag: textOf(lastTag, DIGITS_32, `${at}.lastTag`),
    rows: rows === null ? null : integerOf(rows, 0, Number.MAX_SAFE_INTEGER, `${at}.rows`),
    ...(Object.hasOwn(fields, 'path') ? { path: partPathOf(path, `${at}.path`) } : {}),
    ...(Object.hasOwn(fields, 'number')
      ? { number: integerOf(number, 0, MAX_PART_NUMBER, `${at}.number`) }
      : {}),
  }
}

function partPathOf(value: unknown, field: string): string {
  if (typeof value !== 'string' || !isPartPath(value)) {
    throw wrong(field, 'a relative path without ., .., backslashes and control characters', value)
  }
  return value
}

function partsFrom(value: unknown): ManifestPart[] {
  if (!Array.isArray(value)) throw wrong('parts', 'an array', value)
  if (value.length > MAX_PARTS) {
    throw mismatch('LIMIT', 'parts', `at most ${MAX_PARTS}`, value.length)
  }
  const parts = Array.from(value, partFrom)
  for (const field of ['name', 'fileId'] as const) {
    const seen = new Set<string>()
    for (const part of parts) {
      if (seen.has(part[field])) throw wrong('parts', `each ${field} once`, part[field])
      seen.add(part[field])
    }
  }
  const numbers = new Set<number>()
  for (const [index, part] of parts.entries()) {
    const number = partNumber(part, index)
    if (numbers.has(number)) throw wrong('parts', 'each part number once', number)
    numbers.add(number)
  }
  assertPathsOfTree(parts.flatMap(({ path }) => path ?? []))
  return parts
}

/**
 * The part number that stands in a part's sealed file.
 * @param index - The part's place in the manifest's list, from 0.
 */
export function partNumber(part: ManifestPart, index: number): number {
  return part.number ?? index
}

/** Checks a manifest digest: 64 lower-case hexadecimal digits. Throws `MANIFEST_FORMAT`. */
export function manifestDigestFrom(text: unknown): ManifestDigest {
  return textOf(text, DIGITS_64, 'digest') as ManifestDigest
}

/** Checks every field of a manifest. Throws `MANIFEST_FORMAT` or `LIMIT`. */
function manifestFrom(value: unknown): Manifest {
  const { datasetId, version, previous, mediaType, parts } = fieldsOf(value, 5, 'manifest')
  const checkedVersion = integerOf(version, 1, MAX_DATASET_VERSION, 'version')
  if ((checkedVersion === 1) !== (previous === null)) {
    throw wrong('previous', 'null for version 1 and only for it', { version, previous })
  }
  return {
    datasetId: textOf(datasetId, DIGITS_32, 'datasetId') as DatasetId,
    version: checkedVersion,
    previous: previous === null ? null : manifestDigestFrom(previous),
    mediaType: textOf(mediaType, MEDIA_TYPE, 'mediaType'),
    parts: partsFrom(parts),
  }
}

/** Encodes a manifest as RFC 8785 JSON. Throws `MANIFEST_FORMAT` or `LIMIT`. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  return canonicalJsonBytes(manifestFrom(manifest))
}

/** Parses an encoded manifest, canonical to the byte. Throws `MANIFEST_FORMAT` or `LIMIT`. */
export function parseManifest(bytes: Uint8Array): Manifest {
  let text: string
  let value: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch (cause) {
    throw mismatch('MANIFEST_FORMAT', 'manifest', 'JSON in UTF-8', 'something else', { cause })
  }
  const manifest = manifestFrom(value)
  if (canonicalJson(manifest) !== text) {
    throw mismatch('MANIFEST_FORMAT', 'manifest', 'RFC 8785 JSON', 'another encoding')
  }
  return manifest
}

/** Returns the digest of an encoded manifest. */
export function manifestDigest(encoded: Uint8Array): ManifestDigest {
  return createHash('sha256').update(encoded).digest('hex') as ManifestDigest
}
