import { createHash } from 'node:crypto'

/**
 * How a credential names certificates: by key, `key:<SHA-256 of SubjectPublicKeyInfo>`, or by name
 * and issuer, `name:<SHA-256 of the CA's certificate>:<dns|email|uri>:<subject alternative name>`.
 */
export const CERTIFICATE_MATCH =
  /^(key:[0-9a-f]{64}|name:[0-9a-f]{64}:(dns|email|uri):[\x21-\x7e]{1,200})$/

/** The certificate of a connection, whose private key the client has shown to hold. */
export interface PresentedCertificate {
  /** Everything that a credential may know it by; names only where a named CA vouches for them. */
  readonly matches: readonly string[]
}

/** How a certificate is known by its key. @param spki - SubjectPublicKeyInfo, DER */
export function keyMatch(spki: Uint8Array): string {
  return `key:${createHash('sha256').update(spki).digest('hex')}`
}

/** How a certificate is known by one of its names. @param ca - The issuer's certificate, DER */
export function nameMatch(ca: Uint8Array, type: 'dns' | 'email' | 'uri', name: string): string {
  return `name:${createHash('sha256').update(ca).digest('hex')}:${type}:${name}`
}

/**
 * Id of the credential that a certificate is by itself. It is made of the match, so that no two
 * credentials can claim the same certificates.
 */
export function certificateCredentialId(match: string): string {
  const label = 'cloister certificate credential v1\n'
  return createHash('sha256').update(label).update(match).digest('hex').slice(0, 32)
}
