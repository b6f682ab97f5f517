import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto'
import { CryptoError } from './errors.ts'

/** How RSA encryption pads. OAEP is with SHA-256 for both hashes, and no label. */
export type RsaEncryptionPadding = 'pkcs1' | 'oaep'

const OAEP = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' } as const

/** The private key in PKCS#8 bytes. */
export function rsaPrivateKey(pkcs8: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
}

/** The public half, PEM in the PKCS#1 form (`RSA PUBLIC KEY`). */
export function rsaPublicPem(pkcs8: Uint8Array): string {
  return createPublicKey(rsaPrivateKey(pkcs8)).export({ type: 'pkcs1', format: 'pem' }).toString()
}

/** Encrypts to a key. @throws CryptoError LENGTH */
export function rsaEncrypt(
  pkcs8: Uint8Array,
  padding: RsaEncryptionPadding,
  plaintext: Uint8Array,
): Uint8Array {
  const key = createPublicKey(rsaPrivateKey(pkcs8))
  const how = padding === 'oaep' ? OAEP : { padding: constants.RSA_PKCS1_PADDING }
  try {
    return new Uint8Array(publicEncrypt({ key, ...how }, plaintext))
  } catch (cause) {
    throw new CryptoError('LENGTH', `${plaintext.length} bytes are too many for the key`, { cause })
  }
}

/** Decrypts what was encrypted to a key. @throws CryptoError DECRYPT */
export function rsaDecrypt(
  pkcs8: Uint8Array,
  padding: RsaEncryptionPadding,
  ciphertext: Uint8Array,
): Uint8Array {
  const key = rsaPrivateKey(pkcs8)
  try {
    if (padding === 'oaep') return new Uint8Array(privateDecrypt({ key, ...OAEP }, ciphertext))
    return withoutPkcs1(privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, ciphertext))
  } catch (cause) {
    if (cause instanceof CryptoError) throw cause
    throw new CryptoError('DECRYPT', 'the ciphertext is not of this key', { cause })
  }
}

/** Bytes before the message: 00 02, at least eight of padding that are not 0, and 00. */
const PKCS1_OVERHEAD = 11

/**
 * Takes off PKCS#1 v1.5 padding, in one pass over all bytes. Node no longer does (CVE-2023-46809):
 * whether padding was right is an oracle to those who may have ciphertexts decrypted. Here these are
 * the owners of the key, who are told the plaintext itself.
 * @see RFC 8017, section 7.2.2
 */
function withoutPkcs1(block: Uint8Array): Uint8Array {
  let end = 0
  for (let at = block.length - 1; at >= 2; at--) end = block[at] === 0 ? at : end
  const isPadded = block[0] === 0 && block[1] === 2 && end >= PKCS1_OVERHEAD - 1
  const message = isPadded ? Uint8Array.from(block.subarray(end + 1)) : undefined
  block.fill(0)
  if (message === undefined) throw new CryptoError('DECRYPT', 'the ciphertext is not of this key')
  return message
}
