import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import {
  type Certificate,
  DerError,
  parseRaTlsCertificate,
  reportDataOf,
  type VerifiedEvidence,
} from '@cloister/attestation'
import { AttestedCertificateError } from '../errors.ts'
import { type CertificateEvidence, evidenceOf } from './evidence-extension.ts'

/** A self-signed certificate with evidence in it. The evidence is not verified. */
export interface AttestedCertificate extends CertificateEvidence {
  readonly certificate: Certificate
  readonly publicKey: KeyObject
}

/** ECDSA with SHA-256, SHA-384, SHA-512 and RSA PKCS#1 with SHA-256: what the known writers use. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.2.840.113549.1.1.11', 'sha256'],
])

/**
 * Reads an attested certificate: DER, signed by its own key, with evidence whose claims name that
 * key. Bytes that are PEM inside DER are not looked for: OpenSSL would find the certificates of a
 * quote and take one of them for the whole.
 * @param der - At most 64 KiB.
 * @throws AttestedCertificateError FORMAT, SELF_SIGNATURE, NO_EVIDENCE, EVIDENCE, BINDING
 */
export function parseAttestedCertificate(der: Uint8Array): AttestedCertificate {
  const certificate = readCertificate(der)
  const publicKey = readKey(certificate)
  if (!isSelfSigned(certificate, publicKey)) {
    throw new AttestedCertificateError('SELF_SIGNATURE', 'not signed by its own key')
  }
  return { certificate, publicKey, ...evidenceOf(certificate) }
}

/**
 * Asserts that verified evidence is about the certificate's key, and the certificate valid.
 * @param presentedKey - The key that the other side proved to have in the handshake.
 * @throws AttestedCertificateError KEY, BINDING, VALIDITY
 */
export function assertCertificateBinds(
  { certificate, publicKey, boundDigest }: AttestedCertificate,
  evidence: VerifiedEvidence,
  presentedKey: KeyObject,
  at: Date,
): void {
  if (!publicKey.equals(presentedKey)) {
    throw new AttestedCertificateError('KEY', 'the handshake was made with another key')
  }
  if (!Buffer.concat([boundDigest, new Uint8Array(32)]).equals(reportDataOf(evidence))) {
    throw new AttestedCertificateError('BINDING', 'the evidence is not about this key')
  }
  const { notBefore, notAfter } = certificate
  if (!(notBefore <= at && at <= notAfter)) {
    throw new AttestedCertificateError(
      'VALIDITY',
      `valid from ${notBefore.toISOString()} to ${notAfter.toISOString()}`,
    )
  }
}

function readCertificate(der: Uint8Array): Certificate {
  try {
    return parseRaTlsCertificate(der)
  } catch (cause) {
    if (!(cause instanceof DerError)) throw cause
    throw new AttestedCertificateError('FORMAT', `no certificate: ${cause.message}`, { cause })
  }
}

function readKey({ spki }: Certificate): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch (cause) {
    throw new AttestedCertificateError('FORMAT', 'the key cannot be read', { cause })
  }
}

function isSelfSigned(certificate: Certificate, key: KeyObject): boolean {
  const hash = HASHES.get(certificate.signatureAlgorithm)
  if (hash === undefined) return false
  try {
    return verify(hash, certificate.tbs, key, certificate.signature)
  } catch {
    // A signature OpenSSL cannot read is none.
    return false
  }
}
