import type { SimEnclave, SimPlatform } from '@cloister/attestation'
import { assertReportDataSize, type QuoteSource } from './quote-source.ts'

/** An enclave on a simulated platform, which protects nothing: whoever holds it quotes anything. */
export function simQuoteSource(
  platform: SimPlatform,
  enclave: Omit<SimEnclave, 'reportData'>,
): QuoteSource {
  return {
    async quote(reportData) {
      assertReportDataSize(reportData)
      return { evidence: platform.quote({ ...enclave, reportData }) }
    },
  }
}
