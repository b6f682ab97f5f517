import { createPublicKey, type KeyObject } from 'node:crypto'
import { fromBase64Url, sha256, toBase64Url, toHex } from './encoding.ts'
import { KmsError } from './errors.ts'

/**
 * What every such key begins with: id-ecPublicKey, secp256r1, a bit string of an uncompressed point.
 * @see RFC 5480, section 2
 */
const SPKI_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')
const SPKI_LENGTH = SPKI_PREFIX.length + 64

/**
 * Reads a P-256 public key from SubjectPublicKeyInfo in base64url; only the uncompressed encoding
 * with a named curve is taken, so that a key has one spelling.
 * @param what - Name of the field, for the message.
 * @throws KmsError MALFORMED
 */
export function parsePublicKey(what: string, text: string): KeyObject {
  const der = Buffer.from(fromBase64Url(what, text))
  if (der.length !== SPKI_LENGTH || !der.subarray(0, SPKI_PREFIX.length).equals(SPKI_PREFIX)) {
    throw new KmsError('MALFORMED', `${what} is no P-256 key in its one encoding`)
  }
  try {
    // Of what follows the prefix it takes a point of the curve only.
    return createPublicKey({ key: der, format: 'der', type: 'spki' })
  } catch (cause) {
    throw new KmsError('MALFORMED', `${what} is no public key`, { cause })
  }
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
