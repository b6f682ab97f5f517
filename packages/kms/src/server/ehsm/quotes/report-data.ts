import { fromBase64Url, sha256 } from '../../../protocol/encoding.ts'

/**
 * What the service's own quote is about: SHA-256 of the challenge, then SHA-256 of its identity key
 * (SubjectPublicKeyInfo, DER), which its TLS certificate is issued under. Both halves are for clients
 * to check: the quote is of now, and of the service that they talk to.
 * @returns 64 bytes
 */
export function ownReportData(challenge: Uint8Array, identityKey: string): Uint8Array {
  const identity = sha256(fromBase64Url('identity key', identityKey))
  return new Uint8Array(Buffer.concat([sha256(challenge), identity]))
}
