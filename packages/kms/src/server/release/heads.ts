import { fromBase64Url, sha256, toHex } from '../../protocol/encoding.ts'
import { KmsError, type KmsReason } from '../../protocol/errors.ts'
import { JWS_TYPES, signJws } from '../../protocol/jws.ts'
import type { Head, HeadsRequest } from '../../protocol/messages.ts'
import { headsTranscript } from '../../protocol/transcript.ts'
import { type Act, deniedUnproven, perform } from '../acts.ts'
import { provenRows } from '../audit/index.ts'
import type { KmsService } from '../service.ts'
import { consume, moveHead, type StoredHead, type StoreTransaction } from '../store/index.ts'
import { openRequest } from './authorise.ts'
import { authoriseLater, type Earlier, MAX_JOB_MS } from './later.ts'
import { headsOf, permitFor } from './permits.ts'
import { headJson } from './release.ts'

/**
 * Moves the heads of a job's output datasets, all or none. The token is judged as of the release it
 * was used for, since a job may run longer than a token lives; the key and the release policy must
 * still stand.
 * @returns a statement by the key service, compact JWS
 * @throws KmsError HEAD_CONFLICT, RELEASE_DENIED, TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_KEY,
 * JOB_MISMATCH, NOT_OWNER, WRONG_KMS, MALFORMED
 */
export async function commitHeads(service: KmsService, jws: string): Promise<string> {
  const at = service.now()
  const request = await openRequest(service, 'heads', jws)
  const { payload, signKey } = request
  const transcript = headsTranscript(jws)
  const datasets = payload.moves.map(({ datasetId }) => datasetId)
  if (new Set(datasets).size !== datasets.length) {
    throw new KmsError('MALFORMED', 'a dataset stands there twice')
  }
  const act: Act = {
    actor: `instance:${toHex(sha256(fromBase64Url('signing key', signKey)))}`,
    action: 'heads',
    details: { transcript, datasets, releaseIndex: payload.releaseIndex },
  }
  let earlier: Earlier
  try {
    earlier = await authoriseLater(service, request, payload, at)
  } catch (error) {
    throw deniedUnproven(service, act.action, error)
  }
  const { token } = earlier.instance
  Object.assign(act.details, {
    tokenId: token.tokenId,
    jobDigest: toHex(token.jobDigest),
    measurement: toHex(token.measurement),
    tee: token.tee,
  })
  const { value: heads, auditIndex } = await perform(service, act, 'done', at, async tx => {
    const expiresAt = new Date(earlier.releasedAt.getTime() + MAX_JOB_MS)
    const use = { kind: 'heads', id: `${token.tokenId}.${transcript}`, expiresAt } as const
    if (!(await consume(tx, use))) return repeated(payload, act)
    return await moved(service, tx, earlier, payload, act)
  })
  const proven = await provenRows(service, [payload.releaseIndex, auditIndex], payload.logSize)
  const { kmsId, privateKey } = service.identity
  const statement = { kmsId, transcript, heads, ...proven, at: at.toISOString() }
  return await signJws(JWS_TYPES.headsMoved, statement, privateKey)
}

/**
 * This very request was done before, since a denial takes its note back: its answer was lost on the
 * way. It is answered again and moves nothing, so that a finished job is not lost with it.
 */
function repeated({ moves }: HeadsRequest, act: Act): Record<string, Head> {
  act.details['repeated'] = true
  return Object.fromEntries(moves.map(({ datasetId, next }) => [datasetId, { datasetId, ...next }]))
}

async function moved(
  service: KmsService,
  tx: StoreTransaction,
  { countedBy, instance, releasedAt }: Earlier,
  { moves }: HeadsRequest,
  act: Act,
): Promise<Record<string, Head>> {
  const reasons: KmsReason[] = []
  const before = await headsOf(
    tx,
    moves.map(({ datasetId }) => datasetId),
  )
  const owners = new Map<string, string>()
  for (const { datasetId, next } of moves) {
    const declared = instance.job.outputs.find(output => output.datasetId === datasetId)
    if (declared === undefined) {
      reasons.push({ code: 'DATASET', message: `the job has no output dataset ${datasetId}` })
      continue
    }
    if (next.writerKey !== instance.signKey) {
      const message = `dataset ${datasetId}: the writer must be the instance itself`
      const [wanted, seen] = [instance.signKey, next.writerKey]
      reasons.push({ code: 'WRITER_KEY', message, wanted, seen })
    }
    const head = before.get(datasetId)
    const subject = { action: 'seal', keyId: declared.cmkId, datasetId, head } as const
    // Times and limits are of the release, which this goes on with; all else is as of now.
    const use = { ...subject, at: releasedAt, countedBy } as const
    const permit = await permitFor(service, tx, instance, use, reasons, act)
    if (permit !== undefined) owners.set(datasetId, permit.key.owner)
  }
  if (reasons.length > 0) throw new KmsError('RELEASE_DENIED', 'no head is moved', { reasons })
  const heads: Record<string, Head> = {}
  for (const { datasetId, expected, next } of moves) {
    const owner = owners.get(datasetId) ?? ''
    const head = before.get(datasetId)
    // What this very instance moved already stays moved: the answer to that may have been lost.
    const stands = head !== undefined && isAt(head, next)
    heads[datasetId] = headJson(
      stands ? head : await moveHead(tx, { datasetId, owner, expected, next }),
    )
  }
  act.details['heads'] = Object.values(heads).map(({ datasetId, version, manifestDigest }) => ({
    datasetId,
    version,
    manifestDigest,
  }))
  return heads
}

function isAt(head: StoredHead, next: HeadsRequest['moves'][number]['next']): boolean {
  return (
    head.version === next.version &&
    head.manifestDigest === next.manifestDigest &&
    head.writerKey === next.writerKey
  )
}
