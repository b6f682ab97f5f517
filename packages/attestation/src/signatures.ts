import { type KeyObject, verify } from 'node:crypto'
import { publicKeyOf } from './x509/public-keys.ts'

/** A public key of ECDSA P-256, ready to verify with. */
export interface VerifyingKey {
  /**
   * Whether `signature` over `data`, hashed with SHA-256, is by this key.
   * @param encoding - `der`: SEQUENCE of two INTEGERs; `raw`: r then s, 64 bytes.
   */
  verifies(data: Uint8Array, signature: Uint8Array, encoding: 'der' | 'raw'): boolean
}

/** Where signatures are verified: all that this package asks of an implementation of ECDSA. */
export interface SignatureVerifier {
  /** Imports a SubjectPublicKeyInfo in DER; `undefined` when it is no key of P-256. */
  keyFromSpki(spki: Uint8Array): VerifyingKey | undefined
  /** Imports x then y, big-endian, 64 bytes; `undefined` when they are no point of P-256. */
  keyFromPoint(point: Uint8Array): VerifyingKey | undefined
}

/** SubjectPublicKeyInfo of P-256 up to the coordinates of an uncompressed point. @see RFC 5480 */
const SPKI_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')

/** `node:crypto`'s. */
export const nodeSignatures: SignatureVerifier = {
  keyFromSpki: imported,
  keyFromPoint: point =>
    point.length === 64 ? imported(Buffer.concat([SPKI_PREFIX, point])) : undefined,
}

function imported(spki: Uint8Array): VerifyingKey | undefined {
  let key: KeyObject
  try {
    key = publicKeyOf(spki)
  } catch {
    return undefined
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return undefined
  return {
    verifies(data, signature, encoding) {
      if (encoding === 'raw' && signature.length !== 64) return false
      const dsaEncoding = encoding === 'raw' ? 'ieee-p1363' : 'der'
      try {
        return verify('sha256', data, { key, dsaEncoding }, signature)
      } catch {
        // A signature OpenSSL cannot read is none.
        return false
      }
    },
  }
}
