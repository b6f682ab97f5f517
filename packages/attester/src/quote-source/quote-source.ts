import { QuoteSourceError } from '../errors.ts'
import { type Evidence, REPORT_DATA_BYTES, unverifiedReportDataOf } from '../evidence.ts'

/** Where a workload gets evidence about itself: one platform's interface. */
export interface QuoteSource {
  /**
   * Has the platform report 64 bytes of the workload's choice with its measurement.
   * @throws QuoteSourceError
   */
  quote(reportData: Uint8Array): Promise<Evidence>
}

/** Asserts that what was asked for has the size of report data. @throws QuoteSourceError */
export function assertReportDataSize(reportData: Uint8Array): void {
  if (reportData.length !== REPORT_DATA_BYTES) {
    throw new QuoteSourceError('REPORT_DATA', `wanted 64 bytes, saw ${reportData.length}`)
  }
}

/**
 * Asserts that evidence bears what was asked for: another thread that shares the device may have
 * written in between.
 * @throws QuoteSourceError DEVICE when it is no evidence; REPORT_DATA
 */
export function assertBears(evidence: Uint8Array, reportData: Uint8Array): void {
  let seen: Uint8Array
  try {
    seen = unverifiedReportDataOf(evidence)
  } catch (cause) {
    throw new QuoteSourceError('DEVICE', 'what the platform gave is no evidence', { cause })
  }
  if (Buffer.compare(seen, reportData) !== 0) {
    throw new QuoteSourceError('REPORT_DATA', 'the evidence bears other report data')
  }
}
