import type { KeyObject } from 'node:crypto'
import { Dek, type Slot } from '@cloister/sealed'
import { Type } from '@sinclair/typebox'
import { fromBase64Url } from '../protocol/encoding.ts'
import type { JobStatement } from '../protocol/job-statement.ts'
import { decryptWith, JWS_TYPES, type JwsType, verifyJws } from '../protocol/jws.ts'
import {
  type AuditProof,
  type Head,
  type HeadsMoved,
  headsMovedSchema,
  type Released,
  releasedKeysSchema,
  releasedSchema,
} from '../protocol/messages.ts'
import type { KmsPin } from '../protocol/pin.ts'
import { parseAs } from '../protocol/schema.ts'
import { slotFromJson } from '../protocol/slot.ts'
import type { Checkpoint } from '../server/audit/checkpoint.ts'
import { leafHash, verifyInclusion } from '../server/audit/merkle.ts'
import type { ReleaseParts } from './attested-session.ts'
import { KmsConnectionError } from './connection-error.ts'
import { verifySeenLog } from './log-history.ts'

/**
 * Verifies that a release's statement is the pinned key service's and about this very request, and
 * that the release stands in the audit log.
 */
export async function verifyReleased(
  statement: string,
  pin: KmsPin,
  transcript: string,
  parts: ReleaseParts,
  job: JobStatement,
): Promise<Released> {
  return await believing('released keys', async () => {
    const payload = await payloadOf(JWS_TYPES.released, statement, pin)
    const released = parseAs('statement', releasedSchema, payload)
    requireSame('key service', pin.kmsId, released.kmsId)
    requireSame('transcript', transcript, released.transcript)
    requireSameIds([...parts.inputs.keys(), ...parts.outputs.keys()], Object.keys(released.heads))
    for (const [datasetId, head] of Object.entries(released.heads)) {
      if (head !== null) requireSame('dataset', datasetId, head.datasetId)
    }
    for (const datasetId of parts.inputs.keys()) {
      const version = job.inputs.find(input => input.datasetId === datasetId)?.version
      requireSame(`version of ${datasetId}`, version, released.heads[datasetId]?.version)
    }
    const [row] = released.proofs
    requireRow(row, 'release', transcript, verifySeenLog(released, pin.kmsId))
    return released
  })
}

/** Opens the JWE of a release whose statement verified; it holds the keys asked for, no others. */
export async function openReleasedKeys(
  jwe: string,
  receiveKey: KeyObject,
  parts: ReleaseParts,
  kmsId: string,
  job: JobStatement,
): Promise<{
  readonly inputs: ReadonlyMap<string, Dek>
  readonly outputs: ReadonlyMap<string, { readonly dek: Dek; readonly slot: Slot }>
  readonly runSecret: Dek | undefined
}> {
  return await believing('released keys', async () => {
    const keys = parseAs('released keys', releasedKeysSchema, await decryptWith(receiveKey, jwe))
    const inputs = new Map(Object.entries(keys.inputs).map(([id, dek]) => [id, dekFrom(dek)]))
    requireSameIds(fileIds(parts.inputs), [...inputs.keys()])
    const outputs = new Map(
      Object.entries(keys.outputs).map(([id, { dek, slot }]) => [
        id,
        { dek: dekFrom(dek), slot: slotFromJson(slot) },
      ]),
    )
    requireSameIds(fileIds(parts.outputs), [...outputs.keys()])
    for (const [datasetId, files] of parts.outputs) {
      const cmkId = job.outputs.find(output => output.datasetId === datasetId)?.cmkId
      for (const { fileId } of files) {
        requireSame('key service of the slot', kmsId, outputs.get(fileId)?.slot.kmsId)
        requireSame('key of the slot', cmkId, outputs.get(fileId)?.slot.cmkId)
      }
    }
    requireSame('run secret', parts.runId !== undefined, keys.runSecret !== undefined)
    const runSecret = keys.runSecret === undefined ? undefined : dekFrom(keys.runSecret)
    return { inputs, outputs, runSecret }
  })
}

/** What a heads statement must be about. */
export interface WantedHeads {
  readonly transcript: string
  readonly releaseTranscript: string
  readonly releaseIndex: number
  readonly heads: readonly Head[]
}

/** Verifies a heads statement: signer, request, heads, and that both acts stand in the log. */
export async function verifyHeadsMoved(
  statement: string,
  pin: Pick<KmsPin, 'kmsId' | 'identityKey'>,
  wanted: WantedHeads,
): Promise<HeadsMoved> {
  return await believing('moved heads', async () => {
    const payload = await payloadOf(JWS_TYPES.headsMoved, statement, pin)
    const moved = parseAs('statement', headsMovedSchema, payload)
    requireSame('key service', pin.kmsId, moved.kmsId)
    requireSame('transcript', wanted.transcript, moved.transcript)
    requireSameIds(
      wanted.heads.map(head => head.datasetId),
      Object.keys(moved.heads),
    )
    for (const head of wanted.heads) {
      const seen = moved.heads[head.datasetId]
      requireSame('version', head.version, seen?.version)
      requireSame('manifest', head.manifestDigest, seen?.manifestDigest)
      requireSame('writer', head.writerKey, seen?.writerKey)
    }
    const checkpoint = verifySeenLog(moved, pin.kmsId)
    const [release, heads] = moved.proofs
    requireSame('audit row of the release', wanted.releaseIndex, release.index)
    requireRow(release, 'release', wanted.releaseTranscript, checkpoint)
    requireRow(heads, 'heads', wanted.transcript, checkpoint)
    return moved
  })
}

const rowSchema = Type.Object({ action: Type.String(), transcript: Type.String() })

function requireRow(
  proof: AuditProof,
  action: string,
  transcript: string,
  checkpoint: Checkpoint,
): void {
  const bytes = new TextEncoder().encode(proof.leaf)
  const row = parseAs('audit row', rowSchema, JSON.parse(proof.leaf))
  requireSame('action of the audit row', action, row.action)
  requireSame('transcript of the audit row', transcript, row.transcript)
  verifyInclusion({
    leafHash: leafHash(bytes),
    index: proof.index,
    size: checkpoint.size,
    path: proof.path.map(digest => fromBase64Url('path', digest)),
    rootHash: checkpoint.rootHash,
  })
}

async function payloadOf(
  type: JwsType,
  statement: string,
  pin: Pick<KmsPin, 'identityKey'>,
): Promise<unknown> {
  const { payload, signKey } = await verifyJws(type, statement)
  requireSame('signer', pin.identityKey, signKey)
  return payload
}

function requireSame(what: string, wanted: unknown, seen: unknown): void {
  if (seen !== wanted) {
    throw new TypeError(`${what}: wanted ${String(wanted)}, saw ${String(seen)}`)
  }
}

function requireSameIds(wanted: readonly string[], seen: readonly string[]): void {
  requireSame('file or dataset ids', [...wanted].sort().join(), [...seen].sort().join())
}

function fileIds(parts: ReadonlyMap<string, readonly { readonly fileId: string }[]>): string[] {
  return [...parts.values()].flatMap(files => files.map(({ fileId }) => fileId))
}

function dekFrom(text: string): Dek {
  const bytes = fromBase64Url('DEK', text)
  const dek = Dek.from(bytes)
  bytes.fill(0)
  return dek
}

/** Whatever is wrong with a statement, none of it is believed and one code says so. */
async function believing<T>(what: string, verify: () => Promise<T>): Promise<T> {
  try {
    return await verify()
  } catch (cause) {
    const detail = cause instanceof Error ? `: ${cause.message}` : ''
    throw new KmsConnectionError('STATEMENT', `the statement of ${what} does not hold${detail}`, {
      cause,
    })
  }
}
