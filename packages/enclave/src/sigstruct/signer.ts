import { type KeyObject, sign } from 'node:crypto'
import { assertSigningKey, modulusOf } from './key.ts'

/**
 * Whoever signs enclaves: a key in a file or in a token. Signing elsewhere altogether goes by
 * `sigstructSignedBytes` and `attachSignature`.
 */
export interface EnclaveSigner {
  /** RSA-3072 modulus as a SIGSTRUCT stores it: 384 bytes, little-endian. The exponent is 3. */
  readonly modulus: Uint8Array
  /** Signs by RSASSA-PKCS1-v1_5 with SHA-256: 384 bytes, big-endian, as OpenSSL writes them. */
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

/** A signer that holds its key in this process. @throws SigstructError with `KEY`. */
export function keySigner(key: KeyObject): EnclaveSigner {
  assertSigningKey(key)
  return {
    modulus: modulusOf(key),
    sign: async bytes => new Uint8Array(sign('sha256', bytes, key)),
  }
}
