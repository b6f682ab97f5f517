import { createPublicKey, type KeyObject } from 'node:crypto'

/** Public keys kept: the roots, CAs and signers of a few platforms. */
const MOST_KEPT = 64

const kept = new Map<string, KeyObject>()

/**
 * The key of a SubjectPublicKeyInfo. Reading one takes OpenSSL longer than verifying with it, and
 * the same few come again with each quote, so the last ones are kept.
 * @param spki - DER
 * @throws whatever OpenSSL says of bytes that are no key
 */
export function publicKeyOf(spki: Uint8Array): KeyObject {
  const der = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength)
  const name = der.toString('latin1')
  const found = kept.get(name)
  if (found !== undefined) return found
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  const [oldest] = kept.keys()
  if (kept.size >= MOST_KEPT && oldest !== undefined) kept.delete(oldest)
  kept.set(name, key)
  return key
}
