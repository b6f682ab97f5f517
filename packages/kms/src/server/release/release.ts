import type { Dek } from '@cloister/sealed'
import { datasetIdFrom, fileIdFrom, type Sha256 } from '@cloister/sealed'
import { fromBase64Url, fromHex, sha256, toBase64Url, toHex } from '../../protocol/encoding.ts'
import { KmsError, type KmsReason } from '../../protocol/errors.ts'
import { encryptTo, JWS_TYPES, signJws } from '../../protocol/jws.ts'
import {
  type Head,
  MAX_PARTS_PER_REQUEST,
  type ReleaseRequest,
  type SlotJson,
} from '../../protocol/messages.ts'
import { parsePublicKey } from '../../protocol/public-key.ts'
import { slotFromJson } from '../../protocol/slot.ts'
import { releaseTranscript } from '../../protocol/transcript.ts'
import { type Act, deniedUnproven, perform } from '../acts.ts'
import { provenRows } from '../audit/index.ts'
import { type DekContext, KeyError } from '../keys/index.ts'
import type { Secret } from '../root/index.ts'
import type { KmsService } from '../service.ts'
import { consume, type StoredHead, type StoreTransaction } from '../store/index.ts'
import { authorise, type Instance, openRequest, type SignedRequest } from './authorise.ts'
import { authoriseLater, MAX_JOB_MS } from './later.ts'
import { headsOf, type Permit, permitFor } from './permits.ts'

/** Everything that a release hands out, in clear; disposed of once it is encrypted. */
interface Gathered {
  readonly inputs: Map<string, Dek>
  readonly outputs: Map<string, { readonly dek: Dek; readonly slot: SlotJson }>
  readonly heads: Record<string, Head | null>
}

/** What gathering needs at every step. */
interface Scope {
  readonly service: KmsService
  readonly tx: StoreTransaction
  readonly instance: Instance
  /** The instant that policies are asked about, and those that this use is counted by already. */
  readonly asOf: { readonly at: Date; readonly countedBy: ReadonlySet<string> }
  /** Whether it is counted: a request that goes on with a release was, with that one. */
  readonly counts: boolean
  readonly reasons: KmsReason[]
  readonly act: Act
  /** What was permitted, to be counted once everything is. */
  readonly permits: { readonly keyId: string; readonly policyId: string }[]
}

/**
 * Releases keys to an attested instance: all that it asks for, or nothing and every reason.
 * @returns a statement by the key service over the whole transcript, compact JWS
 * @throws KmsError RELEASE_DENIED, REQUEST_REPLAYED, TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_KEY,
 * JOB_MISMATCH, WRONG_KMS, MALFORMED
 */
export async function release(service: KmsService, jws: string): Promise<string> {
  const at = service.now()
  const request = await openRequest(service, 'release', jws)
  const { payload, signKey } = request
  requireDistinct(payload)
  const act: Act = {
    actor: `instance:${toHex(sha256(fromBase64Url('signing key', signKey)))}`,
    action: 'release',
    details: { inputs: datasetsOf(payload.inputs), outputs: datasetsOf(payload.outputs) },
  }
  const { instance, jtiExpiresAt, asOf } = await authorised(service, request, at).catch(
    (error: unknown) => {
      throw deniedUnproven(service, act.action, error)
    },
  )
  const { token } = instance
  requireSinceRestore(service, token)
  const counts = payload.continues === undefined
  const transcript = releaseTranscript({
    challenge: toBase64Url(token.challenge),
    quoteDigest: fromHex('quote digest', payload.quoteDigestHex),
    jobDigest: token.jobDigest,
    receiveKey: payload.receiveKey,
    signKey,
    token: payload.token,
    request: jws,
  })
  Object.assign(act.details, {
    transcript,
    tokenId: token.tokenId,
    jobDigest: toHex(token.jobDigest),
    measurement: toHex(token.measurement),
    tee: token.tee,
    tcbStatus: token.tcbStatus,
    ...(payload.continues === undefined ? {} : { continues: payload.continues.releaseIndex }),
    ...(payload.runId === undefined ? {} : { runId: payload.runId }),
  })
  const { value: gathered, auditIndex } = await perform(service, act, 'released', at, async tx => {
    const use = { id: `${token.tokenId}.${payload.jti}`, expiresAt: jtiExpiresAt }
    if (!(await consume(tx, { ...use, kind: 'release' }))) {
      throw new KmsError('REQUEST_REPLAYED', 'this request has been answered')
    }
    return await gather(
      { service, tx, instance, asOf, counts, act, reasons: [], permits: [] },
      payload,
    )
  })
  service.metrics.released(gathered.inputs.size + gathered.outputs.size)
  const { runId, receiveKey } = payload
  const runSecret =
    runId === undefined ? undefined : service.runSecrets.of(instance.token.jobDigest, runId)
  const keys = await encrypted(gathered, runSecret, receiveKey)
  const { kmsId, privateKey } = service.identity
  const { heads } = gathered
  const { logKey, checkpoint, proofs } = await provenRows(service, [auditIndex])
  const placed = { logKey, checkpoint, proofs, at: at.toISOString() }
  const statement = { kmsId, transcript, keys, heads, ...placed }
  return await signJws(JWS_TYPES.released, statement, privateKey)
}

/** That a request was answered may be forgotten with what came after the backup. */
function requireSinceRestore({ restoredAt }: KmsService, { issuedAt }: Instance['token']): void {
  // Tokens tell their time in whole seconds, so those of the restore's own second are refused too.
  if (restoredAt === undefined || issuedAt >= restoredAt) return
  throw new KmsError('TOKEN_EXPIRED', 'the token is of before the key service was restored')
}

/** Who asks, until when the request could be made again, and as of when policies decide. */
interface Authorised {
  readonly instance: Instance
  readonly jtiExpiresAt: Date
  readonly asOf: Scope['asOf']
}

/**
 * The instance that asks. One that asks for keys of further output files names the release before:
 * its token, and times and limits of policies, are judged as of that, which counted. Keys to inputs
 * are released to a token that is valid now, and to no other.
 */
async function authorised(
  service: KmsService,
  request: SignedRequest<'release'>,
  at: Date,
): Promise<Authorised> {
  const { continues, inputs, outputs } = request.payload
  if (continues !== undefined && request.payload.runId !== undefined) {
    throw new KmsError('MALFORMED', 'a request that continues a release asks for no run secret')
  }
  if (continues === undefined) {
    const instance = await authorise(service, request, at)
    return { instance, jtiExpiresAt: instance.token.expiresAt, asOf: { at, countedBy: new Set() } }
  }
  if (inputs.length > 0) {
    throw new KmsError('MALFORMED', 'a request that continues a release asks for output keys alone')
  }
  const earlier = await authoriseLater(service, request, continues, at)
  const { countedBy, instance, releasedAt } = earlier
  const other = outputs.find(({ datasetId }) => !earlier.outputs.has(datasetId))
  if (other !== undefined) {
    const message = `that release gave no key to output dataset ${other.datasetId}`
    throw new KmsError('RELEASE_DENIED', 'this continues no such release', {
      reasons: [{ code: 'RELEASE_INDEX', message }],
    })
  }
  const jtiExpiresAt = new Date(releasedAt.getTime() + MAX_JOB_MS)
  return { instance, jtiExpiresAt, asOf: { at: releasedAt, countedBy } }
}

async function gather(scope: Scope, payload: ReleaseRequest): Promise<Gathered> {
  const { service, tx, counts, reasons, permits } = scope
  const gathered: Gathered = { inputs: new Map(), outputs: new Map(), heads: {} }
  const asked = [...payload.inputs, ...payload.outputs].map(({ datasetId }) => datasetId)
  const heads = await headsOf(tx, asked)
  if (payload.runId !== undefined) requireWholeJob(scope, new Set(asked))
  try {
    for (const input of payload.inputs) {
      await gatherInput(scope, input, heads.get(input.datasetId), gathered)
    }
    for (const output of payload.outputs) {
      await gatherOutput(scope, output, heads.get(output.datasetId), gathered)
    }
    if (reasons.length > 0) {
      throw new KmsError('RELEASE_DENIED', 'no key is released', { reasons })
    }
    if (counts) await service.policies.count(tx, permits)
  } catch (error) {
    dispose(gathered)
    throw error
  }
  for (const [datasetId, head] of heads) gathered.heads[datasetId] = head ? headJson(head) : null
  return gathered
}

/**
 * Whoever has a run's secret is told data of all its datasets by the others: so each key's owner is
 * to permit it, and not only the owners of those that this one asks for.
 */
function requireWholeJob({ instance, reasons }: Scope, asked: ReadonlySet<string>): void {
  const { inputs, outputs } = instance.job
  for (const { name, datasetId } of [...inputs, ...outputs]) {
    if (asked.has(datasetId)) continue
    const message = `a run's secret goes with keys of all datasets of the job; not asked for: "${name}"`
    reasons.push({ code: 'RUN_DATASET', message })
  }
}

async function gatherInput(
  scope: Scope,
  { datasetId, parts }: ReleaseRequest['inputs'][number],
  head: StoredHead | undefined,
  gathered: Gathered,
): Promise<void> {
  const { service, tx, instance, reasons } = scope
  const declared = instance.job.inputs.find(input => input.datasetId === datasetId)
  if (declared === undefined) {
    reasons.push({ code: 'DATASET', message: `the job has no input dataset ${datasetId}` })
    return
  }
  if (head?.version !== declared.version) {
    reasons.push({
      code: 'STALE_DATASET',
      message: `input "${declared.name}" (${datasetId}) does not stand at the version of the job`,
      wanted: head === undefined ? 'a dataset with a head' : `version ${head.version}`,
      seen: `version ${declared.version}`,
    })
  }
  const permits = new Map<string, Permit | undefined>()
  for (const cmkId of new Set(parts.map(({ slot }) => slot.cmkId))) {
    permits.set(cmkId, await permitOf(scope, { action: 'release', keyId: cmkId, datasetId, head }))
  }
  for (const { fileId, fixedDigestHex, slot } of parts) {
    if (slot.kmsId !== service.identity.kmsId) {
      const message = `the slot of file ${fileId} is for another key service`
      reasons.push({
        code: 'SLOT_KMS',
        message,
        wanted: service.identity.kmsId,
        seen: slot.kmsId,
      })
      continue
    }
    const permit = permits.get(slot.cmkId)
    if (permit === undefined) continue
    try {
      const context = contextOf(datasetId, fileId, fixedDigestHex)
      const { cmkVersion, wrappedDek } = slotFromJson(slot)
      const { key, grant } = permit
      const wrapped = { cmkVersion, wrappedDek }
      gathered.inputs.set(fileId, await service.keys.releaseDek(tx, key, wrapped, context, grant))
    } catch (error) {
      if (!(error instanceof KeyError)) throw error
      const message = `the slot of file ${fileId} is not of that file, dataset and key`
      reasons.push({ code: 'SLOT_INVALID', message })
    }
  }
}

async function permitOf(
  { act, asOf, instance, permits, reasons, service, tx }: Scope,
  use: Omit<Parameters<typeof permitFor>[3], 'at' | 'countedBy'>,
): Promise<Permit | undefined> {
  const permit = await permitFor(service, tx, instance, { ...use, ...asOf }, reasons, act)
  if (permit !== undefined) permits.push({ keyId: use.keyId, policyId: permit.policyId })
  return permit
}

async function gatherOutput(
  scope: Scope,
  { datasetId, cmkId, parts }: ReleaseRequest['outputs'][number],
  head: StoredHead | undefined,
  gathered: Gathered,
): Promise<void> {
  const { service, tx, instance, reasons } = scope
  const declared = instance.job.outputs.find(output => output.datasetId === datasetId)
  if (declared === undefined) {
    reasons.push({ code: 'DATASET', message: `the job has no output dataset ${datasetId}` })
    return
  }
  if (declared.cmkId !== cmkId) {
    const message = `output "${declared.name}" is for another key`
    reasons.push({ code: 'OUTPUT_KEY', message, wanted: declared.cmkId, seen: cmkId })
    return
  }
  const permit = await permitOf(scope, { action: 'seal', keyId: cmkId, datasetId, head })
  if (permit === undefined) return
  const { kmsId } = service.identity
  for (const { fileId, fixedDigestHex } of parts) {
    const context = contextOf(datasetId, fileId, fixedDigestHex)
    const { dek, cmkVersion, wrappedDek } = await service.keys.sealDek(
      tx,
      permit.key,
      context,
      permit.grant,
    )
    const slot = { kmsId, cmkId, cmkVersion, wrappedDek: toBase64Url(wrappedDek) }
    gathered.outputs.set(fileId, { dek, slot })
  }
}

/** What a wrap is bound to. The dataset is one of the attested job; the rest is authenticated by the wrap. */
export function contextOf(datasetId: string, fileId: string, fixedDigestHex: string): DekContext {
  return {
    datasetId: datasetIdFrom(datasetId),
    fileId: fileIdFrom(fileId),
    fixedDigest: fromHex('fixed digest', fixedDigestHex) as Sha256,
  }
}

/** A head as it goes over the wire: whose it is stays here. */
export function headJson({ datasetId, version, manifestDigest, writerKey }: StoredHead): Head {
  return { datasetId, version, manifestDigest, writerKey }
}

async function encrypted(
  gathered: Gathered,
  runSecret: Secret | undefined,
  receiveKey: string,
): Promise<string> {
  const inputs = Object.fromEntries([...gathered.inputs].map(([id, dek]) => [id, textOf(dek)]))
  const outputs = Object.fromEntries(
    [...gathered.outputs].map(([id, { dek, slot }]) => [id, { dek: textOf(dek), slot }]),
  )
  const run = runSecret === undefined ? {} : { runSecret: runSecret.with(toBase64Url) }
  dispose(gathered)
  runSecret?.dispose()
  const keys = { inputs, outputs, ...run }
  return await encryptTo(parsePublicKey('receiving key', receiveKey), keys)
}

function textOf(dek: Dek): string {
  const bytes = dek.exposeBytes()
  try {
    return toBase64Url(bytes)
  } finally {
    bytes.fill(0)
  }
}

function dispose({ inputs, outputs }: Gathered): void {
  for (const dek of inputs.values()) dek.dispose()
  for (const { dek } of outputs.values()) dek.dispose()
}

function requireDistinct({ inputs, outputs }: ReleaseRequest): void {
  const files = [...inputs, ...outputs].flatMap(({ parts }) =>
    parts.map(({ fileId }: { fileId: string }) => fileId),
  )
  if (files.length > MAX_PARTS_PER_REQUEST) {
    throw new KmsError('MALFORMED', `${files.length} parts; ${MAX_PARTS_PER_REQUEST} at most`)
  }
  const datasets = [...inputs, ...outputs].map(({ datasetId }) => datasetId)
  for (const ids of [files, datasets]) {
    const twice = ids.find((id, index) => ids.indexOf(id) !== index)
    if (twice !== undefined) throw new KmsError('MALFORMED', `${twice} stands there twice`)
  }
}

function datasetsOf(
  asked: readonly { datasetId: string; parts: readonly { fileId: string }[] }[],
): readonly { datasetId: string; fileIds: readonly string[] }[] {
  return asked.map(({ datasetId, parts }) => ({
    datasetId,
    fileIds: parts.map(({ fileId }) => fileId),
  }))
}
