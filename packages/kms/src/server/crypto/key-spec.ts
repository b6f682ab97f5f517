/** Symmetric kinds of key, with the length of the key in bytes. */
const SYMMETRIC = {
  AES_GCM_128: 16,
  AES_GCM_192: 24,
  AES_GCM_256: 32,
  SM4_CTR: 16,
  SM4_CBC: 16,
} as const

/** RSA, with the length of the modulus in bits. */
const RSA = { RSA_2048: 2048, RSA_3072: 3072, RSA_4096: 4096 } as const

/** Elliptic curves, under the names that OpenSSL has for them. */
const EC = {
  EC_P224: 'secp224r1',
  EC_P256: 'prime256v1',
  EC_P256K: 'secp256k1',
  EC_P384: 'secp384r1',
  EC_P521: 'secp521r1',
} as const

/** Kinds of key for data: AES-GCM, SM4. */
export type SymmetricSpec = keyof typeof SYMMETRIC

/** RSA keys. */
export type RsaSpec = keyof typeof RSA

/** Keys for ECDSA. */
export type EcSpec = keyof typeof EC

/** Any kind of key. */
export type KeySpec = SymmetricSpec | RsaSpec | EcSpec | 'SM2'

/** Every kind of key there is. */
export const KEY_SPECS: readonly KeySpec[] = [
  ...(Object.keys(SYMMETRIC) as SymmetricSpec[]),
  ...(Object.keys(RSA) as RsaSpec[]),
  ...(Object.keys(EC) as EcSpec[]),
  'SM2',
]

/** Whether keys of this kind encrypt and decrypt data with one secret. */
export function isSymmetric(spec: KeySpec): spec is SymmetricSpec {
  return Object.hasOwn(SYMMETRIC, spec)
}

/** Whether this is RSA of any length. */
export function isRsa(spec: KeySpec): spec is RsaSpec {
  return Object.hasOwn(RSA, spec)
}

/** Length of a symmetric key, in bytes. */
export const symmetricLength = (spec: SymmetricSpec): number => SYMMETRIC[spec]

/** Length of an RSA key's modulus, in bits. */
export const modulusBits = (spec: RsaSpec): number => RSA[spec]

/** OpenSSL's name of a key's curve. */
export const curveName = (spec: EcSpec): (typeof EC)[EcSpec] => EC[spec]
