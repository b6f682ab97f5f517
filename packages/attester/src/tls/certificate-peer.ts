import type { X509Certificate } from 'node:crypto'
import type { TrustedAppraisal } from '@cloister/attestation'
import { appraisePeer, type PeerRequirements } from '../appraise-peer.ts'
import {
  type AttestedCertificate,
  assertCertificateBinds,
  parseAttestedCertificate,
} from '../certificate/attested-certificate.ts'
import { AttestedCertificateError, AttestedTlsError } from '../errors.ts'

/**
 * Appraises the other side by the evidence in its certificate.
 * @param certificate - As the handshake had it, which proved that the other side has its key.
 * @throws AttestedTlsError COLLATERAL, EVIDENCE, BINDING, REJECTED
 */
export async function appraiseCertificate(
  certificate: X509Certificate,
  requirements: PeerRequirements,
): Promise<TrustedAppraisal> {
  const attested = attestedFrom(certificate)
  const { endorsements, quote } = attested
  const evidence = { evidence: quote, ...(endorsements && { endorsements }) }
  return appraisePeer(evidence, requirements, (verified, at) =>
    assertCertificateBinds(attested, verified, certificate.publicKey, at),
  )
}

function attestedFrom({ raw }: X509Certificate): AttestedCertificate {
  try {
    return parseAttestedCertificate(raw)
  } catch (cause) {
    if (!(cause instanceof AttestedCertificateError)) throw cause
    const code = cause.code === 'BINDING' ? 'BINDING' : 'EVIDENCE'
    throw new AttestedTlsError(code, `no attested certificate: ${cause.message}`, { cause })
  }
}
