import { randomBytes } from 'node:crypto'
import { assertOk, bool, bytes, CK, type Handle, type OpenToken, ulong } from '@cloister/pkcs11'
import { RootKeyError } from '../errors.ts'

const KEY_LABEL = 'cloister root'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** More than two keys of one id need not be counted. */
const MAX_FOUND = 2

/** Makes an AES-256 key in the token that never leaves it, and can encrypt and decrypt alone. */
export function generateWrappingKey({ cryptoki, session }: OpenToken, id: Uint8Array): Handle {
  const template = [
    ulong(CK.CKA_CLASS, CK.CKO_SECRET_KEY),
    ulong(CK.CKA_KEY_TYPE, CK.CKK_AES),
    ulong(CK.CKA_VALUE_LEN, KEY_BYTES),
    bytes(CK.CKA_LABEL, Buffer.from(KEY_LABEL)),
    bytes(CK.CKA_ID, id),
    bool(CK.CKA_TOKEN, true),
    bool(CK.CKA_PRIVATE, true),
    bool(CK.CKA_SENSITIVE, true),
    bool(CK.CKA_EXTRACTABLE, false),
    bool(CK.CKA_ENCRYPT, true),
    bool(CK.CKA_DECRYPT, true),
    bool(CK.CKA_WRAP, false),
    bool(CK.CKA_UNWRAP, false),
  ]
  const made: Handle[] = [0]
  const mechanism = { mechanism: CK.CKM_AES_KEY_GEN, pParameter: null, ulParameterLen: 0 }
  const result = cryptoki.C_GenerateKey(session, mechanism, template, template.length, made)
  assertOk('C_GenerateKey', result)
  return made[0] ?? 0
}

/**
 * Finds the one AES key of an id, and requires it to be one that never could leave the token.
 * @throws RootKeyError TOKEN_KEY, PKCS11
 */
export function findWrappingKey(token: OpenToken, id: Uint8Array): Handle {
  const { cryptoki, label, session } = token
  const template = [ulong(CK.CKA_CLASS, CK.CKO_SECRET_KEY), bytes(CK.CKA_ID, id)]
  assertOk('C_FindObjectsInit', cryptoki.C_FindObjectsInit(session, template, template.length))
  const found = Buffer.alloc(8 * MAX_FOUND)
  const count: Handle[] = [0]
  assertOk('C_FindObjects', cryptoki.C_FindObjects(session, found, MAX_FOUND, count))
  assertOk('C_FindObjectsFinal', cryptoki.C_FindObjectsFinal(session))
  if (Number(count[0]) !== 1) {
    const wanted = `token "${label}": wanted one key with id ${Buffer.from(id).toString('hex')}`
    const seen = Number(count[0]) === 0 ? 'none' : 'more'
    throw new RootKeyError('TOKEN_KEY', `${wanted}, seen ${seen}`)
  }
  const key = found.readBigUInt64LE()
  assertKept(token, key)
  return key
}

/** A key that somebody brought to the token is somebody else's key too. */
function assertKept({ cryptoki, label, session }: OpenToken, key: Handle): void {
  const wanted = {
    CKA_SENSITIVE: true,
    CKA_EXTRACTABLE: false,
    CKA_NEVER_EXTRACTABLE: true,
    CKA_LOCAL: true,
  } as const
  for (const name of Object.keys(wanted) as (keyof typeof wanted)[]) {
    const asked = bool(CK[name], !wanted[name])
    assertOk('C_GetAttributeValue', cryptoki.C_GetAttributeValue(session, key, [asked], 1))
    const seen = asked.pValue[0] === 1
    if (seen === wanted[name]) continue
    const what = `the key in token "${label}": wanted ${name} ${wanted[name]}, seen ${seen}`
    throw new RootKeyError('TOKEN_KEY', what)
  }
}

/** Encrypts with AES-256-GCM in the token: nonce (12), ciphertext, tag (16). */
export function wrapInToken(
  { cryptoki, session }: OpenToken,
  key: Handle,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  const nonce = new Uint8Array(randomBytes(NONCE_BYTES))
  const mechanism = cryptoki.gcm(nonce, associatedData)
  assertOk('C_EncryptInit', cryptoki.C_EncryptInit(session, mechanism, key))
  const out = new Uint8Array(plaintext.length + TAG_BYTES)
  const length: Handle[] = [out.length]
  const result = cryptoki.C_Encrypt(session, plaintext, plaintext.length, out, length)
  assertOk('C_Encrypt', result)
  return new Uint8Array(Buffer.concat([nonce, out.subarray(0, Number(length[0]))]))
}

/**
 * Decrypts what {@link wrapInToken} gave.
 * @throws RootKeyError UNWRAP when it is of another key, for something else, or altered: which of
 * them, is not told; PKCS11
 */
export function unwrapInToken(
  { cryptoki, label, session }: OpenToken,
  key: Handle,
  wrapped: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  const nonce = wrapped.slice(0, NONCE_BYTES)
  const sealed = wrapped.slice(NONCE_BYTES)
  const mechanism = cryptoki.gcm(nonce, associatedData)
  assertOk('C_DecryptInit', cryptoki.C_DecryptInit(session, mechanism, key))
  const out = new Uint8Array(sealed.length)
  const length: Handle[] = [out.length]
  if (Number(cryptoki.C_Decrypt(session, sealed, sealed.length, out, length)) !== CK.CKR_OK) {
    throw new RootKeyError('UNWRAP', `the root key is not under this key of token "${label}"`)
  }
  const plaintext = out.slice(0, Number(length[0]))
  out.fill(0)
  return plaintext
}
