import { createDecipheriv, createPrivateKey, createPublicKey } from 'node:crypto'
import { CryptoError } from './errors.ts'
import {
  curveName,
  isRsa,
  isSymmetric,
  type KeySpec,
  modulusBits,
  symmetricLength,
} from './key-spec.ts'
import { rsaDecrypt, rsaPrivateKey } from './rsa.ts'

/** Alternative initial value of AES key wrap with padding. @see RFC 5649, section 3 */
const KWP_IV = Buffer.from('a65959a6', 'hex')

/**
 * Unwraps what was wrapped in two steps: an AES-256 key under RSA-OAEP with SHA-256, and behind it
 * the material under that key, by AES key wrap with padding.
 * @param pkcs8 - The private RSA key
 * @throws CryptoError DECRYPT
 * @see RFC 5649; PKCS#11 3.0, CKM_RSA_AES_KEY_WRAP
 */
export function rsaAesUnwrap(pkcs8: Uint8Array, wrapped: Uint8Array): Uint8Array {
  const modulusBytes = (rsaPrivateKey(pkcs8).asymmetricKeyDetails?.modulusLength ?? 0) / 8
  const aesKey = rsaDecrypt(pkcs8, 'oaep', wrapped.subarray(0, modulusBytes))
  try {
    const decipher = createDecipheriv('id-aes256-wrap-pad', aesKey, KWP_IV)
    const body = decipher.update(wrapped.subarray(modulusBytes))
    return new Uint8Array(Buffer.concat([body, decipher.final()]))
  } catch (cause) {
    throw new CryptoError('DECRYPT', 'the wrapped material is not of this key', { cause })
  } finally {
    aesKey.fill(0)
  }
}

/**
 * Takes material that was made elsewhere as {@link newKeyMaterial} would have given it: a raw key of
 * the kind's length, or PKCS#8 of an RSA or EC key.
 * @throws CryptoError LENGTH, UNSUPPORTED
 */
export function importedMaterial(spec: KeySpec, bytes: Uint8Array): Uint8Array {
  if (isSymmetric(spec)) {
    const wanted = symmetricLength(spec)
    if (bytes.length === wanted) return Uint8Array.from(bytes)
    throw new CryptoError('LENGTH', `a key of kind ${spec}: wanted ${wanted} bytes`)
  }
  if (spec === 'SM2') throw new CryptoError('UNSUPPORTED', 'SM2 keys are not imported')
  const key = privateKeyFrom(spec, bytes)
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (isRsa(spec)) {
    if (key.asymmetricKeyType === 'rsa' && modulusLength === modulusBits(spec)) {
      return new Uint8Array(key.export({ type: 'pkcs8', format: 'der' }))
    }
  } else if (key.asymmetricKeyType === 'ec' && namedCurve === curveName(spec)) {
    // Also refuses a key whose public half cannot be computed.
    createPublicKey(key)
    return new Uint8Array(key.export({ type: 'sec1', format: 'der' }))
  }
  throw new CryptoError('UNSUPPORTED', `the material is no private key of kind ${spec}`)
}

function privateKeyFrom(spec: KeySpec, pkcs8: Uint8Array) {
  try {
    return createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
  } catch (cause) {
    throw new CryptoError('UNSUPPORTED', `the material is no private key of kind ${spec}`, {
      cause,
    })
  }
}
