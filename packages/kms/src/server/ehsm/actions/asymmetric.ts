import {
  CryptoError,
  decryptWith,
  encryptTo,
  publicPem,
  signWith,
  verifyWith,
} from '../../crypto/index.ts'
import type { KeyUsage } from '../keys/description.ts'
import { findKey, usableKey } from '../keys/usable.ts'
import { base64, oneOf, uuid } from '../wire/fields.ts'
import { failed } from '../wire/refusal.ts'
import { type Call, coreAction } from './action.ts'
import { DIGESTS, MESSAGE_TYPES, PADDINGS } from './names.ts'

const bytes = base64(1, 8192)
const toBase64 = (value: Uint8Array): string => Buffer.from(value).toString('base64')

/** A private key that was made here, for the use at hand. */
async function privateKey(call: Call, keyId: string, usage: KeyUsage) {
  const { key, material } = await usableKey(call, keyId, usage)
  if (key.origin !== 'internal') throw failed()
  return { spec: key.spec, material }
}

/** What a key or a mode does not do is told as any other failure. */
function core<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw cause instanceof CryptoError ? failed(undefined, cause) : cause
  }
}

function required<T>(mode: T | undefined): T {
  if (mode === undefined) throw failed()
  return mode
}

/** Encrypts to the public half of an RSA or SM2 key. */
export const asymmetricEncrypt = coreAction(
  { keyid: uuid, plaintext: bytes, padding_mode: oneOf(PADDINGS) },
  async (call, { keyid, padding_mode: { encryption }, plaintext }) => {
    const key = await privateKey(call, keyid, 'encrypt-decrypt')
    const padding = key.spec === 'SM2' ? 'none' : required(encryption)
    return { ciphertext: toBase64(core(() => encryptTo(key, padding, plaintext))) }
  },
)

/** Decrypts with an RSA or SM2 key. */
export const asymmetricDecrypt = coreAction(
  { keyid: uuid, ciphertext: bytes, padding_mode: oneOf(PADDINGS) },
  async (call, { ciphertext, keyid, padding_mode: { encryption } }) => {
    const key = await privateKey(call, keyid, 'encrypt-decrypt')
    const padding = key.spec === 'SM2' ? 'none' : required(encryption)
    return { plaintext: toBase64(core(() => decryptWith(key, padding, ciphertext))) }
  },
)

const signatureFields = {
  keyid: uuid,
  message: bytes,
  message_type: oneOf(MESSAGE_TYPES),
  digest_mode: oneOf(DIGESTS),
  padding_mode: oneOf(PADDINGS),
}

/** Signs with an RSA, EC or SM2 key. */
export const sign = coreAction(signatureFields, async (call, fields) => {
  const key = await privateKey(call, fields.keyid, 'sign-verify')
  const padding = key.spec.startsWith('RSA_') ? required(fields.padding_mode.signature) : 'none'
  const { digest_mode: digest, message, message_type: kind } = fields
  return {
    signature: toBase64(core(() => signWith(key, padding, { kind, digest, bytes: message }))),
  }
})

/** Tells whether a signature is of a key. */
export const verify = coreAction({ ...signatureFields, signature: bytes }, async (call, fields) => {
  const key = await privateKey(call, fields.keyid, 'sign-verify')
  const padding = key.spec.startsWith('RSA_') ? required(fields.padding_mode.signature) : 'none'
  const { digest_mode: digest, message, message_type: kind, signature } = fields
  const toSign = { kind, digest, bytes: message }
  return { result: core(() => verifyWith(key, padding, toSign, signature)) }
})

/** The public half of an RSA, EC or SM2 key. */
export const getPublicKey = coreAction({ keyid: uuid }, async (call, { keyid }) => {
  const { key, material } = await findKey(call, keyid)
  if (material === undefined) throw failed()
  return { keyid, pubkey: core(() => publicPem({ spec: key.spec, material })) }
})
