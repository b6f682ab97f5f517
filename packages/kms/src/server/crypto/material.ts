import { generateKeyPair, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import {
  curveName,
  isRsa,
  isSymmetric,
  type KeySpec,
  modulusBits,
  symmetricLength,
} from './key-spec.ts'
import { newSm2PrivateKey } from './sm2/key.ts'

const generate = promisify(generateKeyPair)

/** F4, the public exponent that everyone takes. */
const PUBLIC_EXPONENT = 65_537

/**
 * Makes the material of a new key, for the caller to wrap and to zero: the raw key (AES, SM4), PKCS#8
 * (RSA), the SEC 1 private key (EC), or the private scalar in 32 bytes (SM2).
 */
export async function newKeyMaterial(spec: KeySpec): Promise<Uint8Array> {
  if (isSymmetric(spec)) return new Uint8Array(randomBytes(symmetricLength(spec)))
  if (spec === 'SM2') return newSm2PrivateKey()
  if (isRsa(spec)) {
    const modulusLength = modulusBits(spec)
    const { privateKey } = await generate('rsa', { modulusLength, publicExponent: PUBLIC_EXPONENT })
    return new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }))
  }
  const { privateKey } = await generate('ec', { namedCurve: curveName(spec) })
  return new Uint8Array(privateKey.export({ type: 'sec1', format: 'der' }))
}
