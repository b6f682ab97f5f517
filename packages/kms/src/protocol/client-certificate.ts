import { createHash, type X509Certificate } from 'node:crypto'

/**
 * How a credential names certificates: by key, `key:<SHA-256 of SubjectPublicKeyInfo>`, or by name
 * and issuer, `name:<SHA-256 of the CA's certificate>:<dns|email|uri>:<subject alternative name>`.
 */
export const CERTIFICATE_MATCH =
  '^(key:[0-9a-f]{64}|name:[0-9a-f]{64}:(dns|email|uri):[\\x21-\\x7e]{1,200})$'

/** How a key service knows a certificate by its key. */
export function certificateKeyMatch({ publicKey }: X509Certificate): string {
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  return `key:${createHash('sha256').update(spki).digest('hex')}`
}

/** How a key service knows the certificates of a CA that bear a name. */
export function certificateNameMatch(
  ca: X509Certificate,
  type: 'dns' | 'email' | 'uri',
  name: string,
): string {
  return `name:${createHash('sha256').update(ca.raw).digest('hex')}:${type}:${name}`
}
