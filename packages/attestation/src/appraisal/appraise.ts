import type { VerifiedEvidence } from '../verify/claims.ts'
import { enclaveReasons, isDebugReport } from './enclave-rules.ts'
import { guestReasons, isDebugGuest } from './guest-rules.ts'
import { type AppraisalPolicy, type PolicyDigest, policyDigestOf } from './policy.ts'
import { DAY_MS, platformGraceEnd, quotePlatformReasons } from './quote-platform-rules.ts'
import { type Reason, unlistedReason } from './reasons.ts'
import { snpPlatformReasons } from './snp-platform-rules.ts'
import { isDebugTd, tdReasons } from './td-rules.ts'

/** Evidence that meets a policy. */
export interface TrustedAppraisal {
  readonly verdict: 'trusted'
  readonly evidence: VerifiedEvidence
  /**
   * When the first document or list of the evidence ends, with the policy's grace for collateral; or,
   * before that, the first certificate, for which there is none, or the policy's grace for a platform
   * that is out of date.
   */
  readonly goodUntil: Date
  readonly policyDigest: PolicyDigest
}

/** Evidence that does not, with every reason. */
export interface RejectedAppraisal {
  readonly verdict: 'rejected'
  readonly reasons: readonly [Reason, ...Reason[]]
  readonly policyDigest: PolicyDigest
}

/** The verdict of a policy on evidence. */
export type Appraisal = TrustedAppraisal | RejectedAppraisal

/**
 * Appraises verified evidence. Reads no clock: what is judged by time is judged at the instant that
 * the evidence was verified at.
 */
export function appraiseEvidence(evidence: VerifiedEvidence, policy: AppraisalPolicy): Appraisal {
  const policyDigest = policyDigestOf(policy)
  const [first, ...more] = [
    ...teeReasons(evidence, policy),
    ...workloadReasons(evidence, policy),
    ...platformReasons(evidence, policy),
  ]
  return first === undefined
    ? { verdict: 'trusted', evidence, goodUntil: goodUntil(evidence, policy), policyDigest }
    : { verdict: 'rejected', reasons: [first, ...more], policyDigest }
}

function goodUntil(evidence: VerifiedEvidence, { platform }: AppraisalPolicy): Date {
  const { earliestExpiration } = evidence
  if (evidence.kind === 'snp' || platform === undefined) return earliestExpiration
  const { collateralGraceDays = 0 } = platform
  const ends = [
    new Date(earliestExpiration.getTime() + collateralGraceDays * DAY_MS),
    evidence.certificateExpiration,
    platformGraceEnd(evidence, platform),
  ].filter(end => end !== undefined)
  return new Date(Math.min(...ends.map(end => end.getTime())))
}

/** Whether the host can read the memory of what was attested. */
export function isDebugEnclave(evidence: VerifiedEvidence): boolean {
  switch (evidence.kind) {
    case 'enclave':
      return isDebugReport(evidence.report)
    case 'td':
      return isDebugTd(evidence.tdReport)
    case 'snp':
      return isDebugGuest(evidence.report)
  }
}

function* teeReasons({ tee }: VerifiedEvidence, { tees }: AppraisalPolicy): Iterable<Reason> {
  if (tees.includes(tee)) return
  yield unlistedReason('TEE', 'tees', tees, tee)
}

function workloadReasons(evidence: VerifiedEvidence, policy: AppraisalPolicy): Iterable<Reason> {
  switch (evidence.kind) {
    case 'enclave':
      return enclaveReasons(evidence.report, policy.enclaves ?? [])
    case 'td':
      return tdReasons(evidence.tdReport, policy.tds ?? [])
    case 'snp':
      return guestReasons(evidence.report, policy.guests ?? [])
  }
}

function platformReasons(evidence: VerifiedEvidence, policy: AppraisalPolicy): Iterable<Reason> {
  return evidence.kind === 'snp'
    ? snpPlatformReasons(evidence, policy.snpPlatform)
    : quotePlatformReasons(evidence, policy.platform)
}
