import type { ToSign } from './digest.ts'
import { ecPublicPem, ecSign, ecVerify } from './ec.ts'
import { CryptoError } from './errors.ts'
import { isRsa, isSymmetric, type KeySpec } from './key-spec.ts'
import { type RsaEncryptionPadding, rsaDecrypt, rsaEncrypt, rsaPublicPem } from './rsa.ts'
import { type RsaSignaturePadding, rsaSign, rsaVerify } from './rsa-signature.ts'
import { sm2Decrypt, sm2Encrypt } from './sm2/encryption.ts'
import { sm2PublicPem } from './sm2/key.ts'
import { sm2Sign, sm2Verify } from './sm2/signature.ts'

/** How to pad; `none` is for the kinds of key that need none. */
export type EncryptionPadding = RsaEncryptionPadding | 'none'

/** How to pad; `none` is for the kinds of key that need none. */
export type SignaturePadding = RsaSignaturePadding | 'none'

/** A private key: its kind, and its material as {@link newKeyMaterial} made it. */
export interface PrivateKey {
  readonly spec: KeySpec
  readonly material: Uint8Array
}

function unsupported(spec: KeySpec, what: string): CryptoError {
  return new CryptoError('UNSUPPORTED', `a key of kind ${spec} does not ${what}`)
}

/** The public half, PEM: PKCS#1 for RSA, SPKI for the others. @throws CryptoError UNSUPPORTED */
export function publicPem({ material, spec }: PrivateKey): string {
  if (isRsa(spec)) return rsaPublicPem(material)
  if (spec === 'SM2') return sm2PublicPem(material)
  if (isSymmetric(spec)) throw unsupported(spec, 'have a public half')
  return ecPublicPem(material)
}

/** Encrypts to a key's public half. @throws CryptoError UNSUPPORTED, LENGTH */
export function encryptTo(
  { material, spec }: PrivateKey,
  padding: EncryptionPadding,
  plaintext: Uint8Array,
): Uint8Array {
  if (spec === 'SM2') return sm2Encrypt(material, plaintext)
  if (isRsa(spec) && padding !== 'none') return rsaEncrypt(material, padding, plaintext)
  throw unsupported(spec, `encrypt with padding ${padding}`)
}

/** Decrypts with a private key. @throws CryptoError UNSUPPORTED, DECRYPT */
export function decryptWith(
  { material, spec }: PrivateKey,
  padding: EncryptionPadding,
  ciphertext: Uint8Array,
): Uint8Array {
  if (spec === 'SM2') return sm2Decrypt(material, ciphertext)
  if (isRsa(spec) && padding !== 'none') return rsaDecrypt(material, padding, ciphertext)
  throw unsupported(spec, `decrypt with padding ${padding}`)
}

/**
 * Signs. SM2 takes whatever it is given for the message, and SM3 for the digest.
 * @throws CryptoError UNSUPPORTED, LENGTH
 */
export function signWith(
  { material, spec }: PrivateKey,
  padding: SignaturePadding,
  toSign: ToSign,
): Uint8Array {
  if (spec === 'SM2') return sm2Sign(material, toSign.bytes)
  if (isSymmetric(spec)) throw unsupported(spec, 'sign')
  if (!isRsa(spec)) return ecSign(spec, material, toSign)
  if (padding === 'none') throw unsupported(spec, 'sign without padding')
  return rsaSign(material, padding, toSign)
}

/** Whether a signature is of a key. @throws CryptoError UNSUPPORTED, LENGTH */
export function verifyWith(
  { material, spec }: PrivateKey,
  padding: SignaturePadding,
  toSign: ToSign,
  signature: Uint8Array,
): boolean {
  if (spec === 'SM2') return sm2Verify(material, toSign.bytes, signature)
  if (isSymmetric(spec)) throw unsupported(spec, 'verify')
  if (!isRsa(spec)) return ecVerify(spec, material, toSign, signature)
  if (padding === 'none') throw unsupported(spec, 'verify without padding')
  return rsaVerify(material, padding, toSign, signature)
}
