import { createPublicKey, type KeyObject } from 'node:crypto'
import { jwkOfSpki, type PublicJwk, readPublicKey, spkiOfJwk } from '@cloister/attestation'
import { fromBase64Url, sha256, toBase64Url, toHex } from './encoding.ts'
import { KmsError } from './errors.ts'

/**
 * Reads a P-256 public key from SubjectPublicKeyInfo in base64url; only the uncompressed encoding
 * with a named curve is taken, so that a key has one spelling.
 * @param what - Name of the field, for the message.
 * @throws KmsError MALFORMED
 */
export function parsePublicKey(what: string, text: string): KeyObject {
  return keyFrom(what, fromBase64Url(what, text))
}

/**
 * Reads a P-256 public key from a JWK, which has one spelling too.
 * @param what - Name of what bears it, for the message.
 * @throws KmsError MALFORMED
 */
export function keyOfJwk(what: string, jwk: object | undefined): KeyObject {
  return keyFrom(what, spkiOfJwk({ ...jwk }) ?? new Uint8Array())
}

function keyFrom(what: string, spki: Uint8Array): KeyObject {
  const key = readPublicKey(spki, ['P-256'])
  if (key !== undefined) return key
  throw new KmsError('MALFORMED', `${what} is no P-256 key in its one encoding`)
}

const encoded = new WeakMap<KeyObject, string>()

/** SubjectPublicKeyInfo in base64url, of a public key or of a private key's public half. */
export function encodePublicKey(key: KeyObject): string {
  const known = encoded.get(key)
  if (known !== undefined) return known
  const half = key.type === 'private' ? createPublicKey(key) : key
  // By way of a JWK: OpenSSL writes that in a tenth of the time.
  const spki = spkiOfJwk(half.export({ format: 'jwk' }))
  if (spki === undefined) throw new TypeError('wanted a key of P-256, X25519 or Ed25519')
  const text = toBase64Url(spki)
  encoded.set(key, text)
  return text
}

/** A P-256 key's public half as a JWK. */
export function jwkOfKey(key: KeyObject): PublicJwk {
  const jwk = jwkOfSpki(fromBase64Url('key', encodePublicKey(key)))
  if (jwk?.crv === 'P-256') return jwk
  throw new TypeError('wanted a key of P-256')
}

/** The id of a key service: SHA-256 of its identity key's SubjectPublicKeyInfo, in hexadecimal. */
export function kmsIdOf(identityKey: string): string {
  return toHex(sha256(fromBase64Url('identity key', identityKey)))
}

/** The name that a key service's TLS certificate bears. It resolves nowhere. */
export function tlsNameOf(kmsId: string): string {
  return `${kmsId.slice(0, 32)}.kms.cloister.invalid`
}
