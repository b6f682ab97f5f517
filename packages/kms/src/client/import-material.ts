import { constants, createCipheriv, createPublicKey, publicEncrypt, randomBytes } from 'node:crypto'
import type { Static } from '@sinclair/typebox'
import type { answers } from '../protocol/messages.ts'

/** What a key service gives for an import. */
export type ImportParameters = Static<typeof answers.importParameters>

/**
 * Wraps key material to the key that an import's parameters name, in the way that they name.
 * @param material - A raw key, or PKCS#8 of a private key
 * @see RFC 8017, section 7.1; RFC 5649
 */
export function wrapForImport(parameters: ImportParameters, material: Uint8Array): Uint8Array {
  const key = createPublicKey(parameters.publicKey)
  const oaep = { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
  if (parameters.wrappingAlgorithm === 'RSAES_OAEP_SHA_256') {
    return new Uint8Array(publicEncrypt(oaep, material))
  }
  const aesKey = randomBytes(32)
  const cipher = createCipheriv('id-aes256-wrap-pad', aesKey, Buffer.from('a65959a6', 'hex'))
  const parts = [publicEncrypt(oaep, aesKey), cipher.update(material), cipher.final()]
  aesKey.fill(0)
  return new Uint8Array(Buffer.concat(parts))
}
