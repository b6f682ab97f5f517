import { sign } from 'node:crypto'
import { join } from 'node:path'
import {
  type AttestedSession,
  type Head,
  type HeadMove,
  type JobStatement,
  KmsError,
  type OutputPart,
  type ReleasedKeys,
} from '@cloister/kms'
import {
  Dek,
  datasetIdFrom,
  encodeSealedHeader,
  type FixedPart,
  fixedPart,
  type Manifest,
  type ManifestDigest,
  type ManifestPart,
  manifestDigestFrom,
  parseSealedHeader,
  signManifest,
  verifyManifest,
} from '@cloister/sealed'
import { InstanceError } from '../instance/failure.ts'
import type { InstanceLayout } from '../instance/layout.ts'
import { OutputFolder } from './output-folder.ts'

/** Media types of what programs write. */
const MEDIA_TYPES = {
  csv: 'text/csv',
  json: 'application/x-ndjson',
  parquet: 'application/vnd.apache.parquet',
  files: 'application/octet-stream',
} as const

/** A sealed file as init plans it, before there is a key for it. */
export interface PlannedPart {
  readonly fixed: FixedPart
  readonly fixedDigestHex: string
  /** Its name in the dataset's folder. */
  readonly name: string
}

/** An output dataset as init plans it. */
export interface PlannedOutput {
  readonly output: JobStatement['outputs'][number]
  readonly folder: OutputFolder
  /** The first of its parts: its key is asked for with the inputs', so that whoever may not seal
   * results learns of it before the work and not after. */
  readonly first: PlannedPart
}

/** An output dataset whose manifest is signed. */
export interface SealedOutput {
  readonly planned: PlannedOutput
  readonly manifest: Manifest
  readonly manifestDigest: ManifestDigest
  /** The signed manifest. */
  readonly jws: string
  readonly move: HeadMove
}

/** Plans the job's outputs; parts' fixed bytes are decided before their keys exist. */
export function planOutputs(
  job: JobStatement,
  layout: InstanceLayout,
  instanceName: string,
): readonly PlannedOutput[] {
  return job.outputs.map(output => ({
    output,
    folder: new OutputFolder(layout.outputFolder(output.name), instanceName),
    first: planPart(output, 0),
  }))
}

/** Media type of an output, and of what its program writes unless it says otherwise. */
export function mediaTypeOf({ format }: JobStatement['outputs'][number]): string {
  return MEDIA_TYPES[format]
}

/** Plans one sealed file of an output. */
export function planPart(output: JobStatement['outputs'][number], part: number): PlannedPart {
  const datasetId = datasetIdFrom(output.datasetId)
  const fixed = fixedPart({ datasetId, part, mediaType: mediaTypeOf(output) })
  const name = `part-${String(part).padStart(5, '0')}-${fixed.fileId}.sealed`
  return { fixed, fixedDigestHex: fixedDigestOf(fixed), name }
}

/** What to ask keys for, before the program runs. */
export function outputPartsToAskFor(
  planned: readonly PlannedOutput[],
): ReadonlyMap<string, readonly OutputPart[]> {
  return new Map(planned.map(({ output, first }) => [output.datasetId, [askedFor(first)]]))
}

/** What to ask the key of a part with. */
export function askedFor({ fixed, fixedDigestHex }: PlannedPart): OutputPart {
  return { fileId: fixed.fileId, fixedDigestHex }
}

/**
 * Keys for files beyond the first: how many there are nobody knew before.
 * @throws KmsError, KmsConnectionError
 */
export async function freshKeys(
  session: Pick<AttestedSession, 'releaseOutputs'>,
  asked: ReadonlyMap<string, readonly OutputPart[]>,
): Promise<ReleasedKeys['outputs']> {
  try {
    return (await session.releaseOutputs(asked)).outputs
  } catch (error) {
    // Answered into the void: these keys were nobody's, and there are others.
    if (!(error instanceof KmsError) || error.code !== 'REQUEST_REPLAYED') throw error
    return (await session.releaseOutputs(asked)).outputs
  }
}

/** Where a part is written. */
export function partPath({ folder }: PlannedOutput, part: PlannedPart): string {
  return join(folder.unfinished, part.name)
}

/**
 * Signs a manifest of an output's parts, gives the parts their names and puts the manifest beside
 * them. Nobody finds it yet who does not know its digest.
 * @param before - The dataset's head, null where it has none.
 * @throws InstanceError OUTPUT
 */
export async function sealOutput(
  planned: PlannedOutput,
  session: AttestedSession,
  before: Head | null,
  parts: readonly ManifestPart[],
): Promise<SealedOutput> {
  const { output, folder, first } = planned
  const manifest: Manifest = {
    datasetId: datasetIdFrom(output.datasetId),
    version: (before?.version ?? 0) + 1,
    previous: before === null ? null : manifestDigestFrom(before.manifestDigest),
    mediaType: first.fixed.mediaType,
    parts,
  }
  const jws = await signManifest(manifest, bytes =>
    sign('sha256', bytes, { key: session.signKey, dsaEncoding: 'ieee-p1363' }),
  )
  const { digest } = verifyManifest(jws, Buffer.from(session.writerKey, 'base64url'))
  const names = parts.map(({ name }) => name)
  await folder.place(names, jws, digest).catch((cause: unknown) => {
    throw outputError(output.name, `its manifest is not written: ${systemCodeOf(cause)}`, cause)
  })
  const next = { version: manifest.version, manifestDigest: digest }
  const expected = before && { version: before.version, manifestDigest: before.manifestDigest }
  const move = { datasetId: output.datasetId, expected, next }
  return { planned, manifest, manifestDigest: digest, jws, move }
}

/** An output that could not be sealed, by its name. */
export function outputError(name: string, what: string, cause?: unknown): InstanceError {
  return new InstanceError('OUTPUT', `output ${name}: ${what}`, { cause })
}

/** What the system refused, for people. */
export function systemCodeOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
}

/** The digest covers the header's length; one slot of any size fits the shortest header. */
function fixedDigestOf(fixed: FixedPart): string {
  const dek = Dek.generate()
  const slots = [{ kmsId: '-', cmkId: '-', cmkVersion: 0, wrappedDek: new Uint8Array(1) }]
  const header = parseSealedHeader(encodeSealedHeader({ fixed, slots, dek }))
  dek.dispose()
  return Buffer.from(header.fixedDigest).toString('hex')
}
