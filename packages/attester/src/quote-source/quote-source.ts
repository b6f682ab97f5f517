import { QuoteSourceError } from '../errors.ts'
import { type Evidence, REPORT_DATA_BYTES } from '../evidence.ts'

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
