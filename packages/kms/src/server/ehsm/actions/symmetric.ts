import {
  CryptoError,
  decryptData,
  encryptData,
  encryptTo,
  isRsa,
  isSymmetric,
} from '../../crypto/index.ts'
import { pooledRandomBytes } from '../../root/index.ts'
import { type UsableKey, usableKey } from '../keys/usable.ts'
import { associatedData, base64, integer, text, uuid } from '../wire/fields.ts'
import { failed } from '../wire/refusal.ts'
import { type Call, coreAction } from './action.ts'

const MAX_CIPHERTEXT = 8232
const toBase64 = ({ buffer, byteLength, byteOffset }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')

/** Encrypts up to 6144 bytes. */
export const encrypt = coreAction(
  { keyid: uuid, plaintext: base64(1, 8192), aad: associatedData },
  async (call, { aad, keyid, plaintext }) => {
    const key = await usableKey(call, keyid, 'encrypt-decrypt')
    const ciphertext = toBase64(encrypted(key, plaintext, aad))
    // Of 6144 bytes SM4-CBC makes more than Decrypt takes: better refused than lost.
    if (ciphertext.length > MAX_CIPHERTEXT) throw failed()
    return { ciphertext }
  },
)

/** Decrypts what Encrypt or GenerateDataKey gave. */
export const decrypt = coreAction(
  { keyid: uuid, ciphertext: base64(1, MAX_CIPHERTEXT), aad: associatedData },
  async (call, { aad, ciphertext, keyid }) => {
    const key = await usableKey(call, keyid, 'encrypt-decrypt')
    return { plaintext: toBase64(decrypted(key, ciphertext, aad)) }
  },
)

const dataKeyFields = { keyid: uuid, keylen: integer(1, 1024), aad: associatedData }

/** Makes a data key and gives it, plain and encrypted. */
export const generateDataKey = coreAction(
  dataKeyFields,
  async (call, fields) => await newDataKey(call, fields),
)

/** Makes a data key and gives it encrypted only. */
export const generateDataKeyWithoutPlaintext = coreAction(dataKeyFields, async (call, fields) => {
  const { ciphertext } = await newDataKey(call, fields)
  return { ciphertext }
})

async function newDataKey(
  call: Call,
  {
    aad,
    keyid,
    keylen,
  }: { readonly aad: Uint8Array; readonly keyid: string; readonly keylen: number },
) {
  const key = await usableKey(call, keyid, 'encrypt-decrypt')
  if (key.key.origin !== 'internal') throw failed()
  const dataKey = pooledRandomBytes(keylen)
  const ciphertext = toBase64(encrypted(key, dataKey, aad))
  const plaintext = toBase64(dataKey)
  dataKey.fill(0)
  return { plaintext, ciphertext }
}

/** Re-encrypts a data key to another key of the account's. */
export const exportDataKey = coreAction(
  { keyid: uuid, ukeyid: text(1, 8192), olddatakey_base: base64(1, 8192), aad: associatedData },
  async (call, { aad, keyid, olddatakey_base: wrapped, ukeyid }) => {
    const from = await usableKey(call, keyid, 'encrypt-decrypt')
    const to = await usableKey(call, ukeyid, 'encrypt-decrypt')
    const { spec } = to.key
    if (!isRsa(spec) && spec !== 'SM2') throw failed()
    const dataKey = decrypted(from, wrapped, aad)
    try {
      return { newdatakey: toBase64(encryptTo({ spec, material: to.material }, 'oaep', dataKey)) }
    } catch (cause) {
      throw cause instanceof CryptoError ? failed(undefined, cause) : cause
    } finally {
      dataKey.fill(0)
    }
  },
)

/** Encrypts under a symmetric key. @throws EhsmRefusal for any other key */
export function encrypted({ cipherKey, key }: UsableKey, plaintext: Uint8Array, aad: Uint8Array) {
  if (!isSymmetric(key.spec) || cipherKey === undefined) throw failed()
  return encryptData(key.spec, cipherKey, plaintext, aad)
}

/** Decrypts under a symmetric key. @throws EhsmRefusal for any other key, and any other ciphertext */
export function decrypted({ cipherKey, key }: UsableKey, ciphertext: Uint8Array, aad: Uint8Array) {
  if (!isSymmetric(key.spec) || cipherKey === undefined) throw failed()
  try {
    return decryptData(key.spec, cipherKey, ciphertext, aad)
  } catch (cause) {
    throw cause instanceof CryptoError ? failed(undefined, cause) : cause
  }
}
