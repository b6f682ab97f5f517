import { parseQuote, parseSnpReport, SNP_REPORT_VERSIONS } from '@cloister/attestation'

/** Evidence as a platform gives it. */
export interface Evidence {
  /** A quote of SGX or TDX, or a report of SEV-SNP. */
  readonly evidence: Uint8Array
  /** The certificate table that comes with a SEV-SNP report. */
  readonly certificates?: Uint8Array
}

/** Bytes of report data. */
export const REPORT_DATA_BYTES = 64

/** Whether evidence is a report of SEV-SNP; a quote is what is not. */
export function isSnpReport(evidence: Uint8Array): boolean {
  if (evidence.length < 4) return false
  const first = new DataView(evidence.buffer, evidence.byteOffset).getUint32(0, true)
  return SNP_REPORT_VERSIONS.some(version => version === first)
}

/**
 * The report data that evidence bears, of which nothing is verified.
 * @throws QuoteFormatError when it is no evidence
 */
export function unverifiedReportDataOf(evidence: Uint8Array): Uint8Array {
  if (isSnpReport(evidence)) return parseSnpReport(evidence).reportData
  return parseQuote(evidence).body.report.reportData
}
