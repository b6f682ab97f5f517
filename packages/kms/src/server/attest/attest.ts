import {
  type AppraisalPolicy,
  appraiseEvidence,
  CodedError,
  type Collateral,
  issueToken,
  measurementOf,
  type QuoteClaims,
  type ReleaseBinding,
  ReportDataError,
  readAppraisalPolicy,
  type TrustedAppraisal,
  type Verified,
  verifyEvidence,
  verifyReportData,
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
import type { KmsService } from '../service.ts'
import { consume } from '../store/index.ts'
import { type ClaimedPlatform, claimedPlatform } from './collateral-folder.ts'

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
  let collateral: Collateral
  let evidence: Verified<QuoteClaims>
  try {
    requireThisKms(service, job)
    collateral = await service.collateral.forPlatform(claimed(quote))
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
    token = await issueToken({ appraisal, binding, key, at, lifetimeSeconds })
    Object.assign(act.details, {
      tee: evidence.tee,
      measurement: job.measurement,
      tcbStatus: evidence.tcbStatus,
      policyDigest: toHex(appraisal.policyDigest),
      tokenId: decodeJwt(token).jti ?? '',
    })
  } catch (error) {
    throw await denied(service, act, at, error)
  }
  await perform(service, act, 'done', at, async tx => {
    const use = {
      kind: 'challenge',
      id: request.challenge,
      expiresAt: challenge.expiresAt,
    } as const
    if (!(await consume(tx, use))) {
      throw new KmsError('CHALLENGE_USED', 'the challenge has been used')
    }
  })
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

function claimed(quote: Uint8Array): ClaimedPlatform {
  try {
    return claimedPlatform(quote)
  } catch (error) {
    throw evidenceError(error)
  }
}

function verified(
  { roots, appraisal }: KmsService,
  quote: Uint8Array,
  collateral: Collateral,
  at: Date,
): Verified<QuoteClaims> {
  try {
    const { collateralGraceDays = 0 } = appraisal.platform ?? {}
    return verifyEvidence({ evidence: quote, collateral, roots, at, collateralGraceDays })
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
  evidence: Verified<QuoteClaims>,
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

function requireMeasurement(evidence: Verified<QuoteClaims>, job: JobStatement): void {
  const seen = toHex(measurementOf(evidence))
  if (evidence.kind === 'enclave' && seen === job.measurement) return
  const message = 'the enclave measured is not the one that the job names'
  const reasons = [{ code: 'MEASUREMENT', message, wanted: job.measurement, seen }]
  throw new KmsError('MEASUREMENT_MISMATCH', message, { reasons })
}

function appraised(policy: AppraisalPolicy, evidence: Verified<QuoteClaims>): TrustedAppraisal {
  // Any enclave: it must be the job's, and release policies say what that may have.
  const enclaves = [{ mrEnclave: toHex(measurementOf(evidence)) }]
  const isNamed = evidence.kind !== 'enclave' || policy.enclaves !== undefined
  const named = isNamed ? policy : readAppraisalPolicy({ ...policy, enclaves })
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
