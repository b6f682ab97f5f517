import type { KeyObject } from 'node:crypto'
import { publicKeyOf } from './crypto/public-keys.ts'
import { type KeyKind, kindOfSpki } from './spki.ts'

/**
 * Reads a public key in the one encoding it has: named curve, uncompressed point, nothing more.
 * @param spki - SubjectPublicKeyInfo, DER.
 * @returns `undefined` when the bytes are no such key of one of `kinds`.
 */
export function readPublicKey(spki: Uint8Array, kinds: readonly KeyKind[]): KeyObject | undefined {
  const kind = kindOfSpki(spki)
  if (kind === undefined || !kinds.includes(kind)) return undefined
  try {
    // Of what follows the prefix it takes a point of the curve only.
    return publicKeyOf(spki)
  } catch {
    return undefined
  }
}

/** Whether a public or private key is one of P-256. */
export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
}
