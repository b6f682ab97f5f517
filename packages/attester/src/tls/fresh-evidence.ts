import { reportDataOf, type TrustedAppraisal } from '@cloister/attestation'
import { appraisePeer, type PeerRequirements } from '../appraise-peer.ts'
import { AttestedTlsError } from '../errors.ts'
import type { Evidence } from '../evidence.ts'
import type { QuoteSource } from '../quote-source/quote-source.ts'
import { type FreshBinding, freshReportData } from './binding.ts'
import { inTime } from './in-time.ts'

/** The two certificates of a handshake, DER. */
export interface Leaves {
  readonly server: Uint8Array
  /** Undefined where the client showed none. */
  readonly client: Uint8Array | undefined
}

/**
 * Has the platform give evidence about a connection.
 * @throws AttestedTlsError OWN_EVIDENCE, TIMEOUT
 */
export async function freshEvidence(
  source: QuoteSource,
  binding: FreshBinding,
  deadline: AbortSignal,
): Promise<Evidence> {
  try {
    return await inTime(source.quote(freshReportData(binding)), deadline)
  } catch (cause) {
    if (cause instanceof AttestedTlsError) throw cause
    const why = cause instanceof Error ? cause.message : ''
    throw new AttestedTlsError('OWN_EVIDENCE', `no evidence to give: ${why}`, { cause })
  }
}

/**
 * Appraises the other side's evidence about a connection.
 * @throws AttestedTlsError COLLATERAL, EVIDENCE, BINDING, REJECTED, TIMEOUT
 */
export async function appraiseFresh(
  evidence: Evidence,
  binding: FreshBinding,
  requirements: PeerRequirements,
  deadline: AbortSignal,
): Promise<TrustedAppraisal> {
  const wanted = freshReportData(binding)
  const appraising = appraisePeer(evidence, requirements, verified => {
    if (Buffer.compare(reportDataOf(verified), wanted) !== 0) {
      throw new AttestedTlsError('BINDING', 'the evidence is not about this connection')
    }
  })
  return await inTime(appraising, deadline)
}
