import { createPublicKey, type KeyObject } from 'node:crypto'
import { fromBase64Url, sha256, toBase64Url, toHex } from './encoding.ts'
import { KmsError } from './errors.ts'

/**
 * Reads a P-256 public key from SubjectPublicKeyInfo in base64url; only the uncompressed encoding
 * with a named curve is taken, so that a key has one spelling.
 * @param what - Name of the field, for the message.
 * @throws KmsError MALFORMED
 */
export function parsePublicKey(what: string, text: string): KeyObject {
  const der = fromBase64Url(what, text)
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })
  } catch (cause) {
    throw new KmsError('MALFORMED', `${what} is no public key`, { cause })
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1' || encodePublicKey(key) !== text) {
    throw new KmsError('MALFORMED', `${what} is no P-256 key in its one encoding`)
  }
  return key
}

/** SubjectPublicKeyInfo in base64url, of a public key or of a private key's public half. */
export function encodePublicKey(key: KeyObject): string {
  const half = key.type === 'private' ? createPublicKey(key) : key
  return toBase64Url(half.export({ format: 'der', type: 'spki' }))
}

/** The id of a key service: SHA-256 of its identity key's SubjectPublicKeyInfo, in hexadecimal. */
export function kmsIdOf(identityKey: string): string {
  return toHex(sha256(fromBase64Url('identity key', identityKey)))
}

/** The name that a key service's TLS certificate bears. It resolves nowhere. */
export function tlsNameOf(kmsId: string): string {
  return `${kmsId.slice(0, 32)}.kms.cloister.invalid`
}
