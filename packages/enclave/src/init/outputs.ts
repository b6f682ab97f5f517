import { sign } from 'node:crypto'
import { chown, lstat, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type {
  AttestedSession,
  Head,
  HeadMove,
  JobStatement,
  OutputPart,
  ReleasedKeys,
} from '@cloister/kms'
import {
  Dek,
  datasetIdFrom,
  encodeSealedHeader,
  type FixedPart,
  fixedPart,
  MANIFEST_NAME,
  type Manifest,
  type ManifestDigest,
  type ManifestPart,
  manifestDigestFrom,
  openSealedFile,
  parseSealedHeader,
  signManifest,
  verifyManifest,
} from '@cloister/sealed'
import { InstanceError } from '../instance/failure.ts'
import type { InstanceLayout } from '../instance/layout.ts'
import type { ProgramOutput, ProgramOutputDataset } from '../instance/program.ts'

/** Media types of what programs write. */
const MEDIA_TYPES = {
  csv: 'text/csv',
  json: 'application/x-ndjson',
  parquet: 'application/vnd.apache.parquet',
} as const

/** An output dataset as init plans it, before there is a key for it. */
export interface PlannedOutput {
  readonly output: JobStatement['outputs'][number]
  readonly folder: string
  readonly fixed: FixedPart
  readonly fixedDigestHex: string
}

/** An output dataset whose manifest is signed and written, but not yet under its name. */
export interface SealedOutput {
  readonly planned: PlannedOutput
  readonly manifest: Manifest
  readonly manifestDigest: ManifestDigest
  readonly move: HeadMove
  readonly temporary: string
}

/** Plans one sealed file for each output: its fixed part is decided before its key exists. */
export function planOutputs(job: JobStatement, layout: InstanceLayout): readonly PlannedOutput[] {
  return job.outputs.map(output => {
    const mediaType = MEDIA_TYPES[output.format]
    const fixed = fixedPart({ datasetId: datasetIdFrom(output.datasetId), part: 0, mediaType })
    const folder = layout.outputFolder(output.name)
    return { output, folder, fixed, fixedDigestHex: fixedDigestOf(fixed) }
  })
}

/** What to ask keys for. */
export function outputPartsToAskFor(
  planned: readonly PlannedOutput[],
): ReadonlyMap<string, readonly OutputPart[]> {
  return new Map(
    planned.map(({ output, fixed, fixedDigestHex }) => [
      output.datasetId,
      [{ fileId: fixed.fileId, fixedDigestHex }],
    ]),
  )
}

/** What the program needs to write an output. */
export function programOutputOf(
  planned: PlannedOutput,
  released: ReleasedKeys,
): ProgramOutputDataset {
  const { output, folder, fixed } = planned
  const { name, format, datasetId } = output
  const { dek, slot } = keyOf(planned, released)
  const part = { path: partPath(planned), fixed, dek: dek.exposeBytes(), slots: [slot] }
  return { name, format, datasetId, folder, part }
}

/**
 * Looks at what the program wrote, with init's own eyes, and signs a manifest of it. Nothing of it
 * is under a manifest's name yet.
 * @throws InstanceError OUTPUT
 */
export async function sealOutput(
  planned: PlannedOutput,
  session: AttestedSession,
  released: ReleasedKeys,
  said: ProgramOutput,
): Promise<SealedOutput> {
  const { output, folder } = planned
  const rows = said.outputs.find(({ name }) => name === output.name)?.rows ?? null
  const part = await writtenPart(planned, released, rows)
  const before = released.heads.get(output.datasetId) ?? null
  const manifest: Manifest = {
    datasetId: datasetIdFrom(output.datasetId),
    version: (before?.version ?? 0) + 1,
    previous: before === null ? null : manifestDigestFrom(before.manifestDigest),
    mediaType: planned.fixed.mediaType,
    parts: [part],
  }
  const jws = await signManifest(manifest, bytes =>
    sign('sha256', bytes, { key: session.signKey, dsaEncoding: 'ieee-p1363' }),
  )
  const { digest } = verifyManifest(jws, Buffer.from(session.writerKey, 'base64url'))
  const temporary = join(folder, `.${MANIFEST_NAME}.${planned.fixed.fileId}`)
  try {
    await writeDurably(temporary, jws)
  } catch (cause) {
    const seen = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    throw new InstanceError('OUTPUT', `the manifest of ${output.name} is not written: ${seen}`, {
      cause,
    })
  }
  const next = { version: manifest.version, manifestDigest: digest }
  const move = { datasetId: output.datasetId, expected: positionOf(before), next }
  return { planned, manifest, manifestDigest: digest, move, temporary }
}

/** Gives a sealed output's manifest its name: from here on readers find the new version. */
export async function publishOutput(sealed: SealedOutput): Promise<void> {
  const { folder } = sealed.planned
  await rename(sealed.temporary, join(folder, MANIFEST_NAME))
  await syncFolder(folder)
}

/** Removes whatever a failed job left of an output. An earlier version in its folder stays. */
export async function discardOutput(planned: PlannedOutput): Promise<void> {
  const { folder, fixed } = planned
  const names = await readdir(folder).catch(() => [])
  const ours = names.filter(name => name.includes(fixed.fileId))
  await Promise.all(ours.map(name => rm(join(folder, name), { force: true })))
}

/** Writes a file that is whole or not there, and belongs to whom its folder belongs. */
async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text, 'latin1')
    await file.sync()
  } finally {
    await file.close()
  }
  await ownAsFolder(path)
}

/** Replaces a file atomically, durably. */
export async function replaceDurably(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `.${name}.tmp`)
  await rm(temporary, { force: true })
  await writeDurably(temporary, text)
  await rename(temporary, join(folder, name))
  await syncFolder(folder)
}

async function ownAsFolder(path: string): Promise<void> {
  const folder = await lstat(join(path, '..', '.'))
  if (folder.uid !== process.getuid?.()) await chown(path, folder.uid, folder.gid)
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function writtenPart(
  planned: PlannedOutput,
  released: ReleasedKeys,
  rows: number | null,
): Promise<ManifestPart> {
  const { output, fixed, fixedDigestHex } = planned
  const path = partPath(planned)
  const bad = (what: string, cause?: unknown) =>
    new InstanceError('OUTPUT', `output ${output.name}: ${what}`, { cause })
  if (!(await lstat(path).catch(() => undefined))?.isFile()) throw bad('the program wrote no file')
  try {
    const reader = await openSealedFile(path, keyOf(planned, released).dek)
    try {
      const digest = Buffer.from(reader.header.fixedDigest).toString('hex')
      if (digest !== fixedDigestHex) throw bad('the program wrote another file than it was asked')
      return {
        name: partName(fixed),
        fileId: fixed.fileId,
        fixedDigest: digest,
        length: reader.length,
        lastTag: Buffer.from(reader.lastTag).toString('hex'),
        rows,
      }
    } finally {
      await reader.close()
    }
  } catch (cause) {
    if (cause instanceof InstanceError) throw cause
    throw bad('what the program wrote does not open under its key', cause)
  }
}

function keyOf({ output, fixed }: PlannedOutput, released: ReleasedKeys) {
  const key = released.outputs.get(fixed.fileId)
  if (key === undefined) throw new InstanceError('OUTPUT', `output ${output.name}: no key came`)
  return key
}

function positionOf(head: Head | null): HeadMove['expected'] {
  return head === null ? null : { version: head.version, manifestDigest: head.manifestDigest }
}

function partName(fixed: FixedPart): string {
  return `part-00000-${fixed.fileId}.sealed`
}

function partPath({ folder, fixed }: PlannedOutput): string {
  return join(folder, partName(fixed))
}

/** The digest covers the header's length; one slot of any size fits the shortest header. */
function fixedDigestOf(fixed: FixedPart): string {
  const dek = Dek.generate()
  const slots = [{ kmsId: '-', cmkId: '-', cmkVersion: 0, wrappedDek: new Uint8Array(1) }]
  const header = parseSealedHeader(encodeSealedHeader({ fixed, slots, dek }))
  dek.dispose()
  return Buffer.from(header.fixedDigest).toString('hex')
}
