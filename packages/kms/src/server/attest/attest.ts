import {
  type AppraisalPolicy,
  appraiseEvidence,
  CodedError,
  type Collateral,
  isSnpReport,
  issueToken,
  type ReleaseBinding,
  ReportDataError,
  readAppraisalPolicy,
  type SnpCollateral,
  type TrustedAppraisal,
  type VerifiedEvidence,
  verifyReportData,
  workloadMeasurement,
  workloadOf,
} from '@cloister/attestation'
import type { Static } from '@sinclair/typebox'
import { decodeJwt } from 'jose'
import { collateralToJson } from '../../protocol/collateral.ts'
import { fromBase64Url, sha256, toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import { type JobStatement, jobDigest, parseJobStatement } from '../../protocol/job-statement.ts'
import type { answers, requests } from '../../protocol/messages.ts'
import { parsePublicKey } from '../../protocol/public-key.ts'
import { type Act, denied, deniedUnproven, perform } from '../acts.ts'
import { workloadClaims } from '../policy/index.ts'
import type { KmsService } from '../service.ts'
import { consume, type StoreTransaction } from '../store/index.ts'
import { CHALLENGE_LIFE_MS } from './challenge.ts'
import { claimedPlatform } from './collateral-folder.ts'
import { verifyBy } from './verify-by.ts'

type AttestRequest = Static<typeof requests.attest>

/**
 * Judges evidence and gives a token for it.
 * @throws KmsError CHALLENGE_INVALID, CHALLENGE_EXPIRED, CHALLENGE_USED, WRONG_KMS,
 * EVIDENCE_INVALID, REPORT_DATA_MISMATCH, MEASUREMENT_MISMATCH, APPRAISAL_REJECTED,
 * COLLATERAL_UNAVAILABLE, MALFORMED
 */
export async function attest(
  service: KmsService,
  request: AttestRequest,
): Promise<Static<typeof answers.attest>> {
  const at = service.now()
  const challenge = service.challenges.verify(request.challenge, at)
  const job = parseJobStatement(request.job)
  parsePublicKey('receiving key', request.receiveKey)
  parsePublicKey('signing key', request.signKey)
  const quote = fromBase64Url('quote', request.quote)
  const digest = jobDigest(job)
  const act: Act = {
    actor: `instance:${toHex(sha256(fromBase64Url('signing key', request.signKey)))}`,
    action: 'attest',
    details: { jobDigest: toHex(digest), quoteDigest: toHex(sha256(quote)) },
  }
  let token: string
  let collateral: Collateral | SnpCollateral
  let evidence: VerifiedEvidence
  try {
    requireThisKms(service, job)
    collateral = await collateralFor(service, quote)
    evidence = verified(service, quote, collateral, at)
  } catch (error) {
    throw deniedUnproven(service, act.action, error)
  }
  try {
    const appraisal = appraised(service.appraisal, evidence)
    const binding = {
      protocol: 'cloister/attest-release',
      version: 1,
      tee: evidence.tee,
      kmsId: service.identity.kmsId,
      challenge: challenge.bytes,
      receiveKey: fromBase64Url('receiving key', request.receiveKey),
      signKey: fromBase64Url('signing key', request.signKey),
      jobDigest: digest,
    } as const
    requireBinding(evidence, binding, request)
    requireMeasurement(evidence, job)
    const { privateKey: key } = service.identity
    const lifetimeSeconds = service.tokenLifetimeSeconds
    const version = request.tokenVersion ?? 1
    token = await issueToken({ appraisal, binding, key, at, lifetimeSeconds, version })
    Object.assign(act.details, {
      tee: evidence.tee,
      kind: evidence.kind,
      measurement: job.measurement,
      tcbStatus: evidence.kind === 'snp' ? 'MeetsAppraisal' : evidence.tcbStatus,
      policyDigest: toHex(appraisal.policyDigest),
      tokenId: decodeJwt(token).jti ?? '',
    })
  } catch (error) {
    throw await denied(service, act, at, error)
  }
  await perform(service, act, 'done', at, async tx => {
    await requireStanding(service, tx, evidence)
    const use = {
      kind: 'challenge',
      id: request.challenge,
      expiresAt: challenge.expiresAt,
    } as const
    if (!(await consume(tx, use))) {
      throw new KmsError('CHALLENGE_USED', 'the challenge has been used')
    }
  })
  const issuedAt = new Date(challenge.expiresAt.getTime() - CHALLENGE_LIFE_MS)
  service.outstanding.used(issuedAt, at)
  return { token, collateral: collateralToJson(collateral) }
}

/**
 * A job names every key service it takes keys from: a false one is therefore another job.
 * @throws KmsError WRONG_KMS
 */
export function requireThisKms(service: KmsService, job: JobStatement): void {
  const { identityKey } = service.identity
  if (job.kms.includes(identityKey)) return
  const reason = {
    code: 'JOB_KMS',
    message: 'the job does not name this key service',
    wanted: identityKey,
    seen: job.kms.join(' '),
  }
  throw new KmsError('WRONG_KMS', 'the job is for other key services', { reasons: [reason] })
}

async function collateralFor(
  { collateral }: KmsService,
  evidence: Uint8Array,
): Promise<Collateral | SnpCollateral> {
  try {
    return isSnpReport(evidence)
      ? await collateral.forReport(evidence)
      : await collateral.forPlatform(claimedPlatform(evidence))
  } catch (error) {
    throw evidenceError(error)
  }
}

function verified(
  { roots, appraisal }: KmsService,
  quote: Uint8Array,
  collateral: Collateral | SnpCollateral,
  at: Date,
): VerifiedEvidence {
  try {
    const { collateralGraceDays = 0 } = appraisal.platform ?? {}
    return verifyBy(collateral, quote, { roots, at, collateralGraceDays })
  } catch (error) {
    throw evidenceError(error)
  }
}

function evidenceError(cause: unknown): unknown {
  if (!(cause instanceof CodedError)) return cause
  const reasons = [{ code: String(cause.code), message: cause.message }]
  return new KmsError('EVIDENCE_INVALID', 'the evidence does not verify', { cause, reasons })
}

/** Bound to this challenge, these keys and this job, in the TEE that the root proves. */
function requireBinding(
  evidence: VerifiedEvidence,
  binding: ReleaseBinding,
  { tee }: AttestRequest,
): void {
  if (tee !== evidence.tee) {
    const message = 'the evidence is of another TEE than the instance says'
    const reasons = [{ code: 'TEE', message, wanted: tee, seen: evidence.tee }]
    throw new KmsError('EVIDENCE_INVALID', message, { reasons })
  }
  try {
    verifyReportData(evidence, binding)
  } catch (cause) {
    if (!(cause instanceof ReportDataError)) throw cause
    const code = cause.code === 'MISMATCH' ? 'REPORT_DATA_MISMATCH' : 'MALFORMED'
    const message = 'the evidence is not bound to this challenge, these keys and this job'
    const reasons = [{ code: `REPORT_DATA_${cause.code}`, message: cause.message }]
    throw new KmsError(code, message, { cause, reasons })
  }
}

function requireMeasurement(evidence: VerifiedEvidence, job: JobStatement): void {
  const seen = toHex(workloadMeasurement(workloadOf(evidence)))
  if (seen === job.measurement) return
  const message = 'what was measured is not what the job names'
  const reasons = [{ code: 'MEASUREMENT', message, wanted: job.measurement, seen }]
  throw new KmsError('MEASUREMENT_MISMATCH', message, { reasons })
}

/**
 * Rules for exactly what was measured, where the policy has none of that kind: it must be the job's,
 * and release policies say what that may have. What no workload may be is refused here all the same.
 */
function workloadRules(evidence: VerifiedEvidence) {
  const workload = workloadOf(evidence)
  switch (workload.kind) {
    case 'enclave':
      return { enclaves: [{ mrEnclave: toHex(workload.mrEnclave) }] }
    case 'td': {
      const { kind: _kind, mrSeam: _mrSeam, ...measured } = workload
      const named = Object.entries(measured).map(([name, bytes]) => [name, toHex(bytes)])
      return { tds: [Object.fromEntries(named)] }
    }
    case 'snp': {
      const { hostData, launchMeasurement } = workload
      return { guests: [{ measurement: toHex(launchMeasurement), hostData: toHex(hostData) }] }
    }
  }
}

/** What the operator withdrew gets no token; an owner's withdrawals are of its keys. */
async function requireStanding(
  { withdrawals }: KmsService,
  tx: StoreTransaction,
  evidence: VerifiedEvidence,
): Promise<void> {
  const claims = workloadClaims(workloadOf(evidence))
  const reasons = await withdrawals.against(tx, claims, undefined)
  if (reasons.length === 0) return
  throw new KmsError('WITHDRAWN', 'the image or its signer was withdrawn', { reasons })
}

function appraised(policy: AppraisalPolicy, evidence: VerifiedEvidence): TrustedAppraisal {
  const named = readAppraisalPolicy({ ...workloadRules(evidence), ...policy })
  const appraisal = appraiseEvidence(evidence, named)
  switch (appraisal.verdict) {
    case 'trusted':
      return appraisal
    case 'rejected': {
      const reasons = appraisal.reasons.map(({ edits: _edits, ...reason }) => ({
        ...reason,
        message: `${reason.code}: wanted ${reason.wanted}, saw ${reason.seen}`,
      }))
      throw new KmsError('APPRAISAL_REJECTED', 'the platform does not meet the appraisal policy', {
        reasons,
      })
    }
  }
}
