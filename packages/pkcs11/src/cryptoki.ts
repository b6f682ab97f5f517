import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'
import { Pkcs11Error } from './errors.ts'

/** Numbers of PKCS#11 v2.40 that are used here, by the standard's names. */
export const CK = {
  CKA_CLASS: 0x000,
  CKA_TOKEN: 0x001,
  CKA_PRIVATE: 0x002,
  CKA_LABEL: 0x003,
  CKA_KEY_TYPE: 0x100,
  CKA_ID: 0x102,
  CKA_SENSITIVE: 0x103,
  CKA_ENCRYPT: 0x104,
  CKA_DECRYPT: 0x105,
  CKA_WRAP: 0x106,
  CKA_UNWRAP: 0x107,
  CKA_SIGN: 0x108,
  CKA_VERIFY: 0x10a,
  CKA_MODULUS: 0x120,
  CKA_MODULUS_BITS: 0x121,
  CKA_PUBLIC_EXPONENT: 0x122,
  CKA_VALUE_LEN: 0x161,
  CKA_EXTRACTABLE: 0x162,
  CKA_LOCAL: 0x163,
  CKA_NEVER_EXTRACTABLE: 0x164,
  CKO_PUBLIC_KEY: 2,
  CKO_PRIVATE_KEY: 3,
  CKO_SECRET_KEY: 4,
  CKK_RSA: 0,
  CKK_AES: 0x1f,
  CKM_RSA_PKCS_KEY_PAIR_GEN: 0,
  CKM_SHA256_RSA_PKCS: 0x40,
  CKM_AES_KEY_GEN: 0x1080,
  CKM_AES_GCM: 0x1087,
  CKF_RW_SESSION: 2,
  CKF_SERIAL_SESSION: 4,
  CKF_USER_PIN_FINAL_TRY: 0x20000,
  CKF_USER_PIN_LOCKED: 0x40000,
  CKU_USER: 1,
  CKR_OK: 0,
  CKR_PIN_INCORRECT: 0xa0,
  CKR_PIN_INVALID: 0xa1,
  CKR_PIN_LEN_RANGE: 0xa2,
  CKR_PIN_LOCKED: 0xa4,
  CKR_CRYPTOKI_ALREADY_INITIALIZED: 0x191,
} as const

/** A key's or session's handle. */
export type Handle = number | bigint

type Call = (...values: readonly unknown[]) => number | bigint

/** A PKCS#11 module's functions, one for one: what they give is a CK_RV. 64-bit Linux. */
export interface Cryptoki {
  readonly C_Initialize: Call
  readonly C_GetSlotList: Call
  readonly C_GetTokenInfo: Call
  readonly C_OpenSession: Call
  readonly C_CloseSession: Call
  readonly C_Login: Call
  readonly C_Logout: Call
  readonly C_GenerateKey: Call
  readonly C_GenerateKeyPair: Call
  readonly C_FindObjectsInit: Call
  readonly C_FindObjects: Call
  readonly C_FindObjectsFinal: Call
  readonly C_GetAttributeValue: Call
  readonly C_EncryptInit: Call
  readonly C_Encrypt: Call
  readonly C_DecryptInit: Call
  readonly C_Decrypt: Call
  readonly C_SignInit: Call
  readonly C_Sign: Call
  /** CK_MECHANISM of AES-GCM with a tag of 128 bits. */
  gcm(nonce: Uint8Array, associatedData: Uint8Array): unknown
}

const loaded = new Map<string, Cryptoki>()

/**
 * Loads a module, once a process.
 * @throws Pkcs11Error PKCS11
 */
export function loadCryptoki(modulePath: string): Cryptoki {
  const known = loaded.get(modulePath)
  if (known !== undefined) return known
  try {
    const cryptoki = bind(modulePath)
    assertOk('C_Initialize', cryptoki.C_Initialize(null), [CK.CKR_CRYPTOKI_ALREADY_INITIALIZED])
    loaded.set(modulePath, cryptoki)
    return cryptoki
  } catch (cause) {
    if (cause instanceof Pkcs11Error) throw cause
    throw new Pkcs11Error('PKCS11', `${modulePath} is no PKCS#11 module`, { cause })
  }
}

function bind(modulePath: string): Cryptoki {
  // Loaded here and not above: whoever keeps the root key otherwise loads no native code for it.
  const koffi: typeof Koffi = createRequire(import.meta.url)('koffi')
  const attributes = koffi.pointer(
    koffi.struct({ type: 'ulong', pValue: 'void *', ulValueLen: 'ulong' }),
  )
  const mechanism = koffi.pointer(
    koffi.struct({ mechanism: 'ulong', pParameter: 'void *', ulParameterLen: 'ulong' }),
  )
  const gcmParameters = koffi.struct({
    pIv: 'void *',
    ulIvLen: 'ulong',
    ulIvBits: 'ulong',
    pAAD: 'void *',
    ulAADLen: 'ulong',
    ulTagBits: 'ulong',
  })
  const out = koffi.out(koffi.pointer('ulong'))
  const inout = koffi.inout(koffi.pointer('ulong'))
  const library = koffi.load(modulePath)
  const bound = (
    name: string,
    ...types: readonly (string | Koffi.TypeObject | ReturnType<typeof Koffi.out>)[]
  ): Call => library.func(name, 'ulong', [...types])
  return {
    C_Initialize: bound('C_Initialize', 'void *'),
    C_GetSlotList: bound('C_GetSlotList', 'uint8_t', 'void *', inout),
    C_GetTokenInfo: bound('C_GetTokenInfo', 'ulong', 'void *'),
    C_OpenSession: bound('C_OpenSession', 'ulong', 'ulong', 'void *', 'void *', out),
    C_CloseSession: bound('C_CloseSession', 'ulong'),
    C_Login: bound('C_Login', 'ulong', 'ulong', 'void *', 'ulong'),
    C_Logout: bound('C_Logout', 'ulong'),
    C_GenerateKey: bound('C_GenerateKey', 'ulong', mechanism, attributes, 'ulong', out),
    C_GenerateKeyPair: bound(
      'C_GenerateKeyPair',
      ...['ulong', mechanism, attributes, 'ulong', attributes, 'ulong', out, out],
    ),
    C_FindObjectsInit: bound('C_FindObjectsInit', 'ulong', attributes, 'ulong'),
    C_FindObjects: bound('C_FindObjects', 'ulong', 'void *', 'ulong', out),
    C_FindObjectsFinal: bound('C_FindObjectsFinal', 'ulong'),
    C_GetAttributeValue: bound('C_GetAttributeValue', 'ulong', 'ulong', attributes, 'ulong'),
    C_EncryptInit: bound('C_EncryptInit', 'ulong', mechanism, 'ulong'),
    C_Encrypt: bound('C_Encrypt', 'ulong', 'void *', 'ulong', 'void *', inout),
    C_DecryptInit: bound('C_DecryptInit', 'ulong', mechanism, 'ulong'),
    C_Decrypt: bound('C_Decrypt', 'ulong', 'void *', 'ulong', 'void *', inout),
    C_SignInit: bound('C_SignInit', 'ulong', mechanism, 'ulong'),
    C_Sign: bound('C_Sign', 'ulong', 'void *', 'ulong', 'void *', inout),
    gcm: (nonce, associatedData) => ({
      mechanism: CK.CKM_AES_GCM,
      pParameter: koffi.as(
        {
          pIv: nonce,
          ulIvLen: nonce.length,
          ulIvBits: 8 * nonce.length,
          pAAD: associatedData,
          ulAADLen: associatedData.length,
          ulTagBits: 128,
        },
        koffi.pointer(gcmParameters),
      ),
      ulParameterLen: koffi.sizeof(gcmParameters),
    }),
  }
}

/** Requires a CK_RV to be CKR_OK, or one of `others`. @throws Pkcs11Error PKCS11 */
export function assertOk(name: string, value: Handle, others: readonly number[] = []): void {
  const result = Number(value)
  if (result === CK.CKR_OK || others.includes(result)) return
  throw new Pkcs11Error('PKCS11', `${name}: wanted CKR_OK, seen 0x${result.toString(16)}`)
}
