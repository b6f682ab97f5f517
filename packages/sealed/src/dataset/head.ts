import type { DatasetId } from '../header.ts'
import { mismatch } from './errors.ts'
import { MAX_DATASET_VERSION, type ManifestDigest } from './manifest.ts'
import type { VerifiedManifest } from './signature.ts'
import { encodeWriterKey, parseWriterKey, writerKeyId } from './writer-key.ts'

/** The one current version of a dataset, as a key service keeps it. */
export interface DatasetHead {
  readonly datasetId: DatasetId
  readonly version: number
  readonly manifestDigest: ManifestDigest
  /** The writer's SPKI DER in base64url. */
  readonly writerKey: string
}

/**
 * What a reader knows of a dataset before it opens it. A `writerKey` is SPKI DER in base64url.
 *
 * - `head`: that very manifest.
 * - `version`: that version by that writer; a writer that signs two of one number is not noticed.
 * - `unchecked-freshness`: any version by that writer, so an old one put back is not noticed.
 */
export type Expectation =
  | { readonly kind: 'head'; readonly head: DatasetHead }
  | {
      readonly kind: 'version'
      readonly datasetId: DatasetId
      readonly version: number
      readonly writerKey: string
    }
  | {
      readonly kind: 'unchecked-freshness'
      readonly datasetId: DatasetId
      readonly writerKey: string
    }

function wrong(field: string, wanted: string, seen: unknown) {
  return mismatch('HEAD_FORMAT', `head field ${field}`, wanted, seen)
}

function digitsOf(value: unknown, count: number, field: string): string {
  if (typeof value !== 'string' || value.length !== count || !/^[0-9a-f]+$/.test(value)) {
    throw wrong(field, `${count} lower-case hexadecimal digits`, value)
  }
  return value
}

/** Checks a head that came from elsewhere. Throws `HEAD_FORMAT` or `WRITER_KEY`. */
export function datasetHeadFrom(value: unknown): DatasetHead {
  if (typeof value !== 'object' || value === null) throw wrong('(all)', 'an object', value)
  const fields: Record<string, unknown> = { ...value }
  const { datasetId, version, manifestDigest, writerKey } = fields
  if (Object.keys(fields).length !== 4) throw wrong('(all)', '4 fields', Object.keys(fields))
  if (
    typeof version !== 'number' ||
    !Number.isInteger(version) ||
    version < 1 ||
    version > MAX_DATASET_VERSION
  ) {
    throw wrong('version', `an integer from 1 to ${MAX_DATASET_VERSION}`, version)
  }
  if (typeof writerKey !== 'string') throw wrong('writerKey', 'base64url', writerKey)
  parseWriterKey(writerKey)
  return {
    datasetId: digitsOf(datasetId, 32, 'datasetId') as DatasetId,
    version,
    manifestDigest: digitsOf(manifestDigest, 64, 'manifestDigest') as ManifestDigest,
    writerKey,
  }
}

/** Returns the head that a verified manifest stands for; `writerKey` is the key it verified with. */
export function headOf(verified: VerifiedManifest, writerKey: Uint8Array): DatasetHead {
  const id = writerKeyId(writerKey)
  if (id !== verified.writerKeyId) {
    throw mismatch('WRITER_KEY', 'writer key', verified.writerKeyId, id)
  }
  return {
    datasetId: verified.manifest.datasetId,
    version: verified.manifest.version,
    manifestDigest: verified.digest,
    writerKey: encodeWriterKey(writerKey),
  }
}

/** Returns the SPKI DER of the writer that is expected. Throws `WRITER_KEY`. */
export function expectedWriterKey(expectation: Expectation): Uint8Array {
  return parseWriterKey(
    expectation.kind === 'head' ? expectation.head.writerKey : expectation.writerKey,
  )
}

function assertDatasetId(wanted: DatasetId, seen: DatasetId): void {
  if (seen !== wanted) throw mismatch('DATASET_ID', 'dataset id of the manifest', wanted, seen)
}

function assertVersion(wanted: number, seen: number): void {
  if (seen !== wanted) throw mismatch('VERSION', 'version of the manifest', wanted, seen)
}

/** Throws `DATASET_ID`, `VERSION` or `DIGEST` unless a verified manifest is the expected one. */
export function assertExpected(verified: VerifiedManifest, expectation: Expectation): void {
  const { manifest, digest } = verified
  switch (expectation.kind) {
    case 'head': {
      const { head } = expectation
      assertDatasetId(head.datasetId, manifest.datasetId)
      assertVersion(head.version, manifest.version)
      if (digest !== head.manifestDigest) {
        throw mismatch('DIGEST', 'digest of the manifest', head.manifestDigest, digest)
      }
      return
    }
    case 'version':
      assertDatasetId(expectation.datasetId, manifest.datasetId)
      assertVersion(expectation.version, manifest.version)
      return
    case 'unchecked-freshness':
      assertDatasetId(expectation.datasetId, manifest.datasetId)
      return
  }
}
