import { constants, type KeyObject, verify } from 'node:crypto'
import { ECDSA_SHA256 } from './x509/certificate.ts'
import { RSASSA_PSS } from './x509/pss.ts'
import { publicKeyOf } from './x509/public-keys.ts'

/**
 * Algorithms of the vendors' signatures, named as JOSE does: ECDSA P-256 with SHA-256, ECDSA P-384
 * with SHA-384, RSASSA-PSS with SHA-384 and a salt of 48 bytes.
 * @see RFC 7518 section 3.1
 */
export type SignatureAlgorithm = 'ES256' | 'ES384' | 'PS384'

/** A public key, ready to verify with by one algorithm. */
export interface VerifyingKey {
  /**
   * Whether `signature` over `data` is by this key.
   * @param encoding - Of ECDSA; `der`: SEQUENCE of two INTEGERs; `raw`: r then s, big-endian, of
   * the curve's size.
   */
  verifies(data: Uint8Array, signature: Uint8Array, encoding: 'der' | 'raw'): boolean
}

/** Where signatures are verified: all that this package asks of an implementation. */
export interface SignatureVerifier {
  /** The algorithm of an X.509 signature's OID; `undefined` when it is none of these. */
  algorithmOf(oid: string): SignatureAlgorithm | undefined
  /** Imports a SubjectPublicKeyInfo in DER; `undefined` when it is no key for the algorithm. */
  keyFromSpki(spki: Uint8Array, algorithm: SignatureAlgorithm): VerifyingKey | undefined
  /** Imports x then y, big-endian, 64 bytes; `undefined` when they are no point of P-256. */
  keyFromPoint(point: Uint8Array): VerifyingKey | undefined
}

/** SubjectPublicKeyInfo of P-256 up to the coordinates of an uncompressed point. @see RFC 5480 */
const SPKI_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')

const ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  [ECDSA_SHA256, 'ES256'],
  [RSASSA_PSS, 'PS384'],
])
const CURVES = { ES256: 'prime256v1', ES384: 'secp384r1' } as const
const HASHES = { ES256: 'sha256', ES384: 'sha384', PS384: 'sha384' } as const
const RAW_SIZES = { ES256: 64, ES384: 96 } as const
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 } as const
const MIN_RSA_BITS = 2048

/** `node:crypto`'s. */
export const nodeSignatures: SignatureVerifier = {
  algorithmOf: oid => ALGORITHMS.get(oid),
  keyFromSpki: imported,
  keyFromPoint: point =>
    point.length === 64 ? imported(Buffer.concat([SPKI_PREFIX, point]), 'ES256') : undefined,
}

function imported(spki: Uint8Array, algorithm: SignatureAlgorithm): VerifyingKey | undefined {
  let key: KeyObject
  try {
    key = publicKeyOf(spki)
  } catch {
    return undefined
  }
  if (!fits(key, algorithm)) return undefined
  return {
    verifies(data, signature, encoding) {
      try {
        if (algorithm === 'PS384') return verify('sha384', data, { key, ...PSS }, signature)
        if (encoding === 'raw' && signature.length !== RAW_SIZES[algorithm]) return false
        const dsaEncoding = encoding === 'raw' ? 'ieee-p1363' : 'der'
        return verify(HASHES[algorithm], data, { key, dsaEncoding }, signature)
      } catch {
        // A signature OpenSSL cannot read is none.
        return false
      }
    },
  }
}

function fits(key: KeyObject, algorithm: SignatureAlgorithm): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (algorithm !== 'PS384') return details?.namedCurve === CURVES[algorithm]
  return (type === 'rsa' || type === 'rsa-pss') && (details?.modulusLength ?? 0) >= MIN_RSA_BITS
}
