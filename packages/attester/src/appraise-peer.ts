import {
  type AppraisalPolicy,
  appraiseEvidence,
  type Collateral,
  type SnpCollateral,
  type TrustedAppraisal,
  type TrustRoot,
  type VerifiedCollateral,
  type VerifiedEvidence,
  verifyEvidence,
} from '@cloister/attestation'
import { AttestedCertificateError, AttestedTlsError } from './errors.ts'
import type { PeerEvidence } from './evidence.ts'

/** What the other side of a connection must prove. */
export interface PeerRequirements {
  /** The only platforms believed. */
  readonly roots: readonly TrustRoot[]
  readonly policy: AppraisalPolicy
  /** Gets collateral for evidence that is not yet verified. */
  readonly collateralFor: (
    evidence: PeerEvidence,
  ) => Promise<Collateral | SnpCollateral | VerifiedCollateral>
  /** The clock; the system's, if that can be trusted. */
  readonly now: () => Date
}

/**
 * Verifies evidence, asserts by `assertBound` that it is about what it should be, and appraises it.
 * @throws AttestedTlsError COLLATERAL, EVIDENCE, BINDING, REJECTED
 */
export async function appraisePeer(
  evidence: PeerEvidence,
  { roots, policy, collateralFor, now }: PeerRequirements,
  assertBound: (verified: VerifiedEvidence, at: Date) => void,
): Promise<TrustedAppraisal> {
  const collateral = await collateralOrRefused(() => collateralFor(evidence))
  const at = now()
  const { collateralGraceDays = 0 } = policy.platform ?? {}
  const verified = verifiedOrRefused(() =>
    verifyEvidence({ evidence: evidence.evidence, collateral, roots, at, collateralGraceDays }),
  )
  bound(() => assertBound(verified, at))
  const appraisal = appraiseEvidence(verified, policy)
  if (appraisal.verdict === 'trusted') return appraisal
  const reasons = appraisal.reasons.map(({ code, wanted, seen }) => `${code} ${wanted}: ${seen}`)
  throw new AttestedTlsError('REJECTED', `the policy refuses the evidence: ${reasons.join('; ')}`, {
    appraisal,
  })
}

/** One that reads the evidence may well throw at once: the other side chose what it reads. */
async function collateralOrRefused<Given>(get: () => Promise<Given>): Promise<Given> {
  try {
    return await get()
  } catch (cause) {
    throw new AttestedTlsError('COLLATERAL', 'no collateral for the evidence', { cause })
  }
}

function verifiedOrRefused(verify: () => VerifiedEvidence): VerifiedEvidence {
  try {
    return verify()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : ''
    throw new AttestedTlsError('EVIDENCE', `the evidence does not verify: ${why}`, { cause })
  }
}

function bound(assert: () => void): void {
  try {
    assert()
  } catch (cause) {
    // One that is a connection's already says so.
    if (!(cause instanceof AttestedCertificateError)) throw cause
    throw new AttestedTlsError('BINDING', cause.message, { cause })
  }
}
