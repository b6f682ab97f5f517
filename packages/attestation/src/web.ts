import { primitives } from '#crypto'
import * as appraise from './appraisal/appraise.ts'
import * as policies from './appraisal/policy.ts'
import type { Collateral } from './collateral/collateral.ts'
import type { SnpCollateral } from './sev-snp/collateral.ts'
import * as hcl from './sev-snp/hcl.ts'
import type { QuoteClaims, SnpClaims, Verified, VerifiedEvidence } from './verify/claims.ts'
import * as collaterals from './verify/verified-collateral.ts'
import * as evidences from './verify-evidence.ts'
import * as chains from './x509/chain.ts'

/*
 * The same for browsers, whose cryptography answers later: what checks signatures or takes digests
 * gives a promise here. Bundlers that know the condition "browser" put WebCrypto behind it.
 */
export * from './common.ts'

const { settled } = primitives

/** As the function of the package's main entry point; rejects with what that throws. */
export function verifyEvidence(
  options: evidences.VerifyEvidenceOptions<Collateral>,
): Promise<Verified<QuoteClaims>>
export function verifyEvidence(
  options: evidences.VerifyEvidenceOptions<SnpCollateral>,
): Promise<Verified<SnpClaims>>
export function verifyEvidence(options: evidences.VerifyEvidenceOptions): Promise<VerifiedEvidence>
export function verifyEvidence(
  options: evidences.VerifyEvidenceOptions,
): Promise<VerifiedEvidence> {
  return settled(() => evidences.verifyEvidence(options))
}

/** As the function of the package's main entry point; rejects with what that throws. */
export function verifyCollateral(
  options: collaterals.VerifyCollateralOptions,
): Promise<collaterals.VerifiedCollateral> {
  return settled(() => collaterals.verifyCollateral(options))
}

/** As the function of the package's main entry point; rejects with what that throws. */
export function appraiseEvidence(
  evidence: VerifiedEvidence,
  policy: policies.AppraisalPolicy,
): Promise<appraise.Appraisal> {
  return settled(() => appraise.appraiseEvidence(evidence, policy))
}

/** As the function of the package's main entry point. */
export function policyDigestOf(policy: policies.AppraisalPolicy): Promise<policies.PolicyDigest> {
  return settled(() => policies.policyDigestOf(policy))
}

/** As the function of the package's main entry point; rejects with what that throws. */
export function parseHclEnvelope(bytes: Uint8Array): Promise<hcl.HclEnvelope> {
  return settled(() => hcl.parseHclEnvelope(bytes))
}

/** As the function of the package's main entry point; rejects with what that throws. */
export function verifyChain(options: chains.VerifyChainOptions): Promise<void> {
  return settled(() => chains.verifyChain(options))
}

/** As the function of the package's main entry point; rejects with what that throws. */
export function verifyCrl(options: chains.VerifyCrlOptions): Promise<void> {
  return settled(() => chains.verifyCrl(options))
}
