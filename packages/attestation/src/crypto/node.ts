import { constants, createHash, type KeyObject, verify } from 'node:crypto'
import { MIN_RSA_BITS, type Primitives, type SignatureAlgorithm } from './primitives.ts'
import { publicKeyOf } from './public-keys.ts'

const CURVES = { ES256: 'prime256v1', ES384: 'secp384r1' } as const
const HASHES = { ES256: 'sha256', ES384: 'sha384', PS384: 'sha384' } as const
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 } as const
const RAW = { dsaEncoding: 'ieee-p1363' } as const

/** `node:crypto`'s, which answers at once. */
export const primitives: Primitives = {
  digest(hash, ...parts) {
    const hasher = createHash(hash)
    for (const part of parts) hasher.update(part)
    return new Uint8Array(hasher.digest())
  },
  keyFromSpki(spki, algorithm) {
    const key = imported(spki, algorithm)
    if (key === undefined) return undefined
    const options = { key, ...(algorithm === 'PS384' ? PSS : RAW) }
    return {
      verifies(data, signature) {
        try {
          return verify(HASHES[algorithm], data, options, signature)
        } catch {
          // A signature OpenSSL cannot read is none.
          return false
        }
      },
    }
  },
  settled: async work => work(),
}

function imported(spki: Uint8Array, algorithm: SignatureAlgorithm): KeyObject | undefined {
  let key: KeyObject
  try {
    key = publicKeyOf(spki)
  } catch {
    return undefined
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  const fits =
    algorithm === 'PS384'
      ? type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS
      : details?.namedCurve === CURVES[algorithm]
  return fits ? key : undefined
}
