import { createPublicKey, type KeyObject } from 'node:crypto'
import { jwkOfSpki } from '../spki.ts'

/** Public keys kept: of roots, CAs and signers, and of instances from attestation to release. */
const MOST_KEPT = 1024

const kept = new Map<string, KeyObject>()

/**
 * The key of a SubjectPublicKeyInfo. Reading one takes OpenSSL longer than verifying with it, and
 * the same few come again with each quote, so the last ones are kept. Instances' keys, which are
 * anybody's, only drive others out.
 * @param spki - DER
 * @throws whatever OpenSSL says of bytes that are no key
 */
export function publicKeyOf(spki: Uint8Array): KeyObject {
  const der = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength)
  const name = der.toString('latin1')
  const found = kept.get(name)
  if (found !== undefined) return found
  // OpenSSL has read a JWK in half the time.
  const jwk = jwkOfSpki(spki)
  const key =
    jwk === undefined
      ? createPublicKey({ key: der, format: 'der', type: 'spki' })
      : createPublicKey({ key: { ...jwk }, format: 'jwk' })
  const [oldest] = kept.keys()
  if (kept.size >= MOST_KEPT && oldest !== undefined) kept.delete(oldest)
  kept.set(name, key)
  return key
}
