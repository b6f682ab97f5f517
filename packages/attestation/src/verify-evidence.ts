import type { Collateral } from './collateral/collateral.ts'
import type { SnpCollateral } from './sev-snp/collateral.ts'
import { isSnpReport } from './sev-snp/report.ts'
import type { QuoteClaims, SnpClaims, Verified, VerifiedEvidence } from './verify/claims.ts'
import { graceMsOf } from './verify/documents.ts'
import { verifyQuote } from './verify/quote.ts'
import type { TrustRoot } from './verify/roots.ts'
import { otherTee, readSnpCollateral, verifySnpReport } from './verify/snp.ts'
import { insideOf, type VerifiedCollateral } from './verify/verified-collateral.ts'
import { Known } from './x509/known.ts'

/** What {@link verifyEvidence} needs; what is left out makes it stricter, and leaves no check out. */
export interface VerifyEvidenceOptions<Given = Collateral | SnpCollateral | VerifiedCollateral> {
  /**
   * Quote of SGX (version 3, 4, 5) or TDX (4, 5), of which what follows the quote is never
   * interpreted; or report of SEV-SNP (version 2, 3, 5).
   */
  readonly evidence: Uint8Array
  /** What `verifyCollateral` made serves as well, and saves its time. */
  readonly collateral: Given
  readonly roots: readonly TrustRoot[]
  /** The instant to judge at. */
  readonly at: Date
  /**
   * For how many days after their end documents and revocation lists of SGX and TDX still serve; 0
   * unless told. Claims keep the true end, and only a policy that grants as much accepts it.
   */
  readonly collateralGraceDays?: number
}

/**
 * Verifies evidence against its collateral. Reads no clock and no network, applies no policy: debug
 * enclaves and old platforms verify, and their claims say so.
 * @throws QuoteFormatError, DerError, ChainError, CollateralError, EvidenceError
 */
export function verifyEvidence(options: VerifyEvidenceOptions<Collateral>): Verified<QuoteClaims>
export function verifyEvidence(options: VerifyEvidenceOptions<SnpCollateral>): Verified<SnpClaims>
export function verifyEvidence(options: VerifyEvidenceOptions): VerifiedEvidence
export function verifyEvidence(options: VerifyEvidenceOptions): VerifiedEvidence {
  const { evidence, collateral, roots, at, collateralGraceDays } = options
  // Nothing but this decides what counts as verified: no member of what the caller gave.
  const inside = insideOf(collateral)
  if (!isSnpReport(evidence)) {
    const instant = { at, graceMs: graceMsOf(collateralGraceDays) }
    if (inside !== undefined && 'documents' in inside) {
      return verifyQuote(evidence, { verified: inside }, roots, instant) as VerifiedEvidence
    }
    if (inside !== undefined || !('tcbInfo' in collateral)) throw otherTee('SGX or TDX')
    return verifyQuote(evidence, { source: collateral }, roots, instant) as VerifiedEvidence
  }
  if (inside !== undefined) {
    if (!('vek' in inside.collateral)) throw otherTee('SEV-SNP')
    const known = new Known(inside.known)
    return verifySnpReport(evidence, inside.collateral, roots, known, at) as VerifiedEvidence
  }
  if (!('vek' in collateral)) throw otherTee('SEV-SNP')
  const known = new Known()
  const read = readSnpCollateral(collateral, known)
  return verifySnpReport(evidence, read, roots, known, at) as VerifiedEvidence
}
