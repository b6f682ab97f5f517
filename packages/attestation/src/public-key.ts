import { createPublicKey, type KeyObject } from 'node:crypto'
import { sameBytes } from './x509/der.ts'

/** Length of the SubjectPublicKeyInfo of each kind of key, in bytes. */
const SPKI_BYTES = { 'P-256': 91, X25519: 44, Ed25519: 44 } as const

/** Kinds of public key that an instance may have. */
export type KeyKind = keyof typeof SPKI_BYTES

/**
 * Reads a public key in the one encoding it has: named curve, uncompressed point, nothing more.
 * @param spki - SubjectPublicKeyInfo, DER.
 * @returns `undefined` when the bytes are no such key of one of `kinds`.
 */
export function readPublicKey(spki: Uint8Array, kinds: readonly KeyKind[]): KeyObject | undefined {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
  const kind = kindOf(key)
  if (kind === undefined || !kinds.includes(kind)) return undefined
  if (spki.length !== SPKI_BYTES[kind]) return undefined
  return sameBytes(key.export({ format: 'der', type: 'spki' }), spki) ? key : undefined
}

/** The kind of a public or private key, if it is one of them. */
export function kindOf(key: KeyObject): KeyKind | undefined {
  switch (key.asymmetricKeyType) {
    case 'ec':
      return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'P-256' : undefined
    case 'x25519':
      return 'X25519'
    case 'ed25519':
      return 'Ed25519'
    default:
      return undefined
  }
}
