import { primitives } from '#crypto'
import { bytesOfHex } from './bytes/text.ts'
import type { SignatureAlgorithm, VerifyingKey } from './crypto/primitives.ts'
import { ECDSA_SHA256 } from './x509/certificate.ts'
import { sameBytes } from './x509/der.ts'
import { RSASSA_PSS } from './x509/pss.ts'

/** Which keys verify what. */
export interface SignatureVerifier {
  /** The algorithm of an X.509 signature's OID; `undefined` when it is none of the vendors'. */
  algorithmOf(oid: string): SignatureAlgorithm | undefined
  /** Imports a SubjectPublicKeyInfo in DER; `undefined` when it is no key for the algorithm. */
  keyFromSpki(spki: Uint8Array, algorithm: SignatureAlgorithm): VerifyingKey | undefined
}

const ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  [ECDSA_SHA256, 'ES256'],
  [RSASSA_PSS, 'PS384'],
])

/** SubjectPublicKeyInfo up to the coordinates of an uncompressed point. @see RFC 5480 */
const POINTS = {
  ES256: { prefix: bytesOfHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004'), size: 64 },
  ES384: { prefix: bytesOfHex('3076301006072a8648ce3d020106052b8104002203620004'), size: 96 },
} as const

/** The vendors' signatures: keys of elliptic curves are uncompressed points of a named curve. */
export const vendorSignatures: SignatureVerifier = {
  algorithmOf: oid => ALGORITHMS.get(oid),
  keyFromSpki: (spki, algorithm) =>
    algorithm === 'PS384' || isPoint(spki, algorithm)
      ? primitives.keyFromSpki(spki, algorithm)
      : undefined,
}

/** Imports x then y, big-endian, 64 bytes; `undefined` when they are no point of P-256. */
export function keyFromPoint(point: Uint8Array): VerifyingKey | undefined {
  const { prefix } = POINTS.ES256
  const spki = new Uint8Array(prefix.length + point.length)
  spki.set(prefix)
  spki.set(point, prefix.length)
  return vendorSignatures.keyFromSpki(spki, 'ES256')
}

function isPoint(spki: Uint8Array, algorithm: 'ES256' | 'ES384'): boolean {
  const { prefix, size } = POINTS[algorithm]
  return spki.length === prefix.length + size && sameBytes(spki.subarray(0, prefix.length), prefix)
}
