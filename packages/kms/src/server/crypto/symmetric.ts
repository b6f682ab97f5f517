import { type CipherGCMTypes, createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { pooledRandomBytes } from '../root/index.ts'
import { CryptoError } from './errors.ts'
import type { SymmetricSpec } from './key-spec.ts'

const GCM_IV = 12
const GCM_TAG = 16
const SM4_IV = 16

type Layout =
  | { readonly mode: 'gcm'; readonly cipher: CipherGCMTypes }
  | { readonly mode: 'sm4'; readonly cipher: 'sm4-ctr' | 'sm4-cbc' }

const LAYOUTS: Readonly<Record<SymmetricSpec, Layout>> = {
  AES_GCM_128: { mode: 'gcm', cipher: 'aes-128-gcm' },
  AES_GCM_192: { mode: 'gcm', cipher: 'aes-192-gcm' },
  AES_GCM_256: { mode: 'gcm', cipher: 'aes-256-gcm' },
  SM4_CTR: { mode: 'sm4', cipher: 'sm4-ctr' },
  SM4_CBC: { mode: 'sm4', cipher: 'sm4-cbc' },
}

/**
 * Encrypts data. AES-GCM gives ciphertext, IV (12) and tag (16); SM4 gives ciphertext and IV (16),
 * authenticates nothing and takes no associated data.
 * @param key - Of the length that the spec has
 */
export function encryptData(
  spec: SymmetricSpec,
  key: Uint8Array | KeyObject,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  const layout = LAYOUTS[spec]
  if (layout.mode === 'gcm') {
    const iv = pooledRandomBytes(GCM_IV)
    const cipher = createCipheriv(layout.cipher, key, iv, { authTagLength: GCM_TAG })
    // No associated data is the same as none of it, and one call less.
    if (associatedData.length > 0) cipher.setAAD(associatedData)
    const parts = [cipher.update(plaintext), cipher.final(), iv]
    return Buffer.concat([...parts, cipher.getAuthTag()])
  }
  const iv = pooledRandomBytes(SM4_IV)
  const cipher = createCipheriv(layout.cipher, key, iv)
  return Buffer.concat([cipher.update(plaintext), cipher.final(), iv])
}

/**
 * Decrypts what {@link encryptData} gave.
 * @throws CryptoError DECRYPT; an SM4 ciphertext that was altered may decrypt to something else
 */
export function decryptData(
  spec: SymmetricSpec,
  key: Uint8Array | KeyObject,
  ciphertext: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  const layout = LAYOUTS[spec]
  const overhead = layout.mode === 'gcm' ? GCM_IV + GCM_TAG : SM4_IV
  if (ciphertext.length < overhead) throw notOfThisKey()
  const body = ciphertext.subarray(0, ciphertext.length - overhead)
  const decipher = decipherOf(layout, key, ciphertext.subarray(body.length), associatedData)
  try {
    return Buffer.concat([decipher.update(body), decipher.final()])
  } catch (cause) {
    throw notOfThisKey(cause)
  }
}

/** @param tail - What follows the ciphertext: the IV, and for GCM the tag. */
function decipherOf(
  layout: Layout,
  key: Uint8Array | KeyObject,
  tail: Uint8Array,
  associatedData: Uint8Array,
) {
  if (layout.mode === 'sm4') return createDecipheriv(layout.cipher, key, tail)
  const iv = tail.subarray(0, GCM_IV)
  const decipher = createDecipheriv(layout.cipher, key, iv, { authTagLength: GCM_TAG })
  decipher.setAAD(associatedData)
  decipher.setAuthTag(tail.subarray(GCM_IV))
  return decipher
}

function notOfThisKey(cause?: unknown): CryptoError {
  return new CryptoError('DECRYPT', 'the ciphertext is not of this key', { cause })
}
