import {
  type Collateral,
  type SnpCollateral,
  type VerifiedCollateral,
  type VerifiedEvidence,
  type VerifyCollateralOptions,
  verifyCollateral,
  verifyEvidence,
} from '@cloister/attestation'

const readied = new WeakMap<Collateral | SnpCollateral, VerifiedCollateral>()

/**
 * Verifies evidence. The signatures of collateral by which some has verified are verified no more for
 * all other evidence that it serves; dates, revocation and the root are judged again with each.
 * @throws QuoteFormatError, DerError, ChainError, CollateralError, EvidenceError
 */
export function verifyBy(
  collateral: Collateral | SnpCollateral,
  evidence: Uint8Array,
  judged: Pick<VerifyCollateralOptions, 'roots' | 'at' | 'collateralGraceDays'>,
): VerifiedEvidence {
  const known = readied.get(collateral)
  const verified = verifyEvidence({ evidence, collateral: known ?? collateral, ...judged })
  // Not sooner: what does not verify would be verified once for itself, and once more with evidence.
  if (known === undefined) readied.set(collateral, verifyCollateral({ collateral, ...judged }))
  return verified
}
