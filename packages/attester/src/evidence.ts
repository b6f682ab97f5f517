import { type Collateral, isSnpReport, parseQuote, parseSnpReport } from '@cloister/attestation'

/** Evidence as a platform gives it. */
export interface Evidence {
  /** A quote of SGX or TDX, or a report of SEV-SNP. */
  readonly evidence: Uint8Array
  /** The certificate table that comes with a SEV-SNP report. */
  readonly certificates?: Uint8Array
}

/** Evidence as the other side of a connection gave it. Nothing of it is verified. */
export interface PeerEvidence extends Evidence {
  /**
   * Collateral that the other side sent along in its certificate. It may be used, and is verified
   * like any other; it is as old as the other side chose, within its dates.
   */
  readonly endorsements?: Collateral
}

/** Bytes of report data. */
export const REPORT_DATA_BYTES = 64

/**
 * The report data that evidence bears, of which nothing is verified.
 * @throws QuoteFormatError when it is no evidence
 */
export function unverifiedReportDataOf(evidence: Uint8Array): Uint8Array {
  if (isSnpReport(evidence)) return parseSnpReport(evidence).reportData
  return parseQuote(evidence).body.report.reportData
}
