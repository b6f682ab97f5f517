import { Type } from '@sinclair/typebox'
import { base64Url, cmkId, nullable, object, oneOf } from '../schema.ts'

/** Who may have what is under a key in plaintext. */
export const KEY_MODES = ['attested-only', 'open'] as const

/** Where a key is in its life. */
export const KEY_STATES = [
  'enabled',
  'disabled',
  'pending-import',
  'pending-deletion',
  'deleted',
] as const

/** Kinds of key, under the names that AWS KMS has for them. */
export const KEY_SPECS = [
  'SYMMETRIC_DEFAULT',
  'RSA_2048',
  'RSA_3072',
  'RSA_4096',
  'ECC_NIST_P256',
  'ECC_NIST_P384',
  'ECC_NIST_P521',
  'ECC_SECG_P256K1',
  'SM2',
] as const

/** What a key does. */
export const KEY_USAGES = ['ENCRYPT_DECRYPT', 'SIGN_VERIFY'] as const

/** Where a key's material is from. */
export const KEY_ORIGINS = ['internal', 'external'] as const

/** Ways to encrypt. */
export const ENCRYPTION_ALGORITHMS = ['SYMMETRIC_DEFAULT', 'RSAES_OAEP_SHA_256', 'SM2PKE'] as const

/** Ways to sign. */
export const SIGNING_ALGORITHMS = [
  'RSASSA_PSS_SHA_256',
  'RSASSA_PSS_SHA_384',
  'RSASSA_PSS_SHA_512',
  'RSASSA_PKCS1_V1_5_SHA_256',
  'RSASSA_PKCS1_V1_5_SHA_384',
  'RSASSA_PKCS1_V1_5_SHA_512',
  'ECDSA_SHA_256',
  'ECDSA_SHA_384',
  'ECDSA_SHA_512',
  'SM2DSA',
] as const

/** Ways to wrap material that is brought to a key. */
export const WRAPPING_ALGORITHMS = ['RSAES_OAEP_SHA_256', 'RSA_AES_KEY_WRAP_SHA_256'] as const

/** Kinds of key that such material is wrapped to. */
export const WRAPPING_KEY_SPECS = ['RSA_2048', 'RSA_3072', 'RSA_4096'] as const

/** Most bytes that Encrypt takes, as with AWS KMS. */
export const MAX_PLAINTEXT = 4096

/** Most bytes of an encryption context's canonical JSON. */
export const MAX_CONTEXT = 8192

/** Most tags of a key. */
export const MAX_TAGS = 50

/** Most keys or aliases on one page of a list. */
export const MAX_PAGE = 1000

/** Printable ASCII that neither begins nor ends with a blank. */
const printable = (most: number) =>
  Type.String({ minLength: 1, maxLength: most, pattern: '^[!-~]([ -~]*[!-~])?$' })

/** A name that an account has for a key. That it is no key id is checked where it is given. */
export const alias = printable(128)

const description = Type.String({ maxLength: 1024, pattern: '^[^\\u0000]*$' })
const tags = Type.Record(
  Type.String({ pattern: '^[!-~]([ -~]{0,126}[!-~])?$' }),
  Type.String({ maxLength: 256, pattern: '^[^\\u0000]*$' }),
  { additionalProperties: false, maxProperties: MAX_TAGS },
)

/** Bytes in base64url; empty ones are none. */
const bytes = (most: number) => base64Url(Math.ceil((most * 4) / 3))

/** Bound into a ciphertext: named values that are no secrets, and must be given again to decrypt. */
const encryptionContext = Type.Record(
  Type.String({ pattern: '^[^\\u0000]{1,256}$' }),
  Type.String({ maxLength: 4096, pattern: '^[^\\u0000]*$' }),
  { additionalProperties: false, maxProperties: 64 },
)

/** The envelope's 53 bytes beside the plaintext; an RSA-4096 ciphertext is shorter than that. */
const ciphertext = bytes(MAX_PLAINTEXT + 128)
const dataKey = {
  /** Bytes of the data key; 32 unless told. */
  length: Type.Optional(Type.Integer({ minimum: 1, maximum: 1024 })),
  encryptionContext: Type.Optional(encryptionContext),
}
const signing = {
  /** Bytes to sign, or with `DIGEST` their digest. */
  message: bytes(4096),
  messageType: Type.Optional(oneOf(['RAW', 'DIGEST'])),
  signingAlgorithm: oneOf(SIGNING_ALGORITHMS),
}

/** Bodies of requests about keys. */
export const keyRequests = {
  createKey: object({
    /** `attested-only` unless told, for good. */
    mode: Type.Optional(oneOf(KEY_MODES)),
    keySpec: Type.Optional(oneOf(KEY_SPECS)),
    keyUsage: Type.Optional(oneOf(KEY_USAGES)),
    /** `external`: the material will be imported. */
    origin: Type.Optional(oneOf(KEY_ORIGINS)),
    alias: Type.Optional(alias),
    description: Type.Optional(description),
    tags: Type.Optional(tags),
  }),
  updateKey: object({ description }),
  encrypt: object({
    plaintext: bytes(MAX_PLAINTEXT),
    encryptionContext: Type.Optional(encryptionContext),
    encryptionAlgorithm: Type.Optional(oneOf(ENCRYPTION_ALGORITHMS)),
  }),
  decrypt: object({
    ciphertext,
    encryptionContext: Type.Optional(encryptionContext),
    encryptionAlgorithm: Type.Optional(oneOf(ENCRYPTION_ALGORITHMS)),
  }),
  reEncrypt: object({
    ciphertext,
    encryptionContext: Type.Optional(encryptionContext),
    /** Id of the key to encrypt under; the same key's newest version unless told. */
    destinationKeyId: Type.Optional(cmkId),
    /** Of the new ciphertext; the same context unless told. */
    destinationContext: Type.Optional(encryptionContext),
  }),
  generateDataKey: object(dataKey),
  sign: object(signing),
  verify: object({ ...signing, signature: bytes(1024) }),
  enableRotation: object({ periodDays: Type.Integer({ minimum: 1, maximum: 2560 }) }),
  scheduleDeletion: object({
    /** 30 unless told. */
    waitingPeriodDays: Type.Optional(Type.Integer({ minimum: 7, maximum: 30 })),
  }),
  tagKey: object({ tags }),
  untagKey: object({ tagKeys: Type.Array(printable(128), { minItems: 1, maxItems: MAX_TAGS }) }),
  createAlias: object({ alias, keyId: cmkId }),
  updateAlias: object({ keyId: cmkId }),
  importParameters: object({
    wrappingAlgorithm: Type.Optional(oneOf(WRAPPING_ALGORITHMS)),
    wrappingKeySpec: Type.Optional(oneOf(WRAPPING_KEY_SPECS)),
  }),
  importKeyMaterial: object({
    importToken: base64Url(256),
    encryptedKeyMaterial: bytes(8192),
  }),
  /** Acts that take nothing but the key. */
  nothing: object({}),
} as const

const rotation = Type.Object({
  periodDays: Type.Integer(),
  nextRotationAt: Type.String(),
})

const key = Type.Object({
  keyId: cmkId,
  owner: Type.String(),
  mode: oneOf(KEY_MODES),
  state: oneOf(KEY_STATES),
  keySpec: oneOf(KEY_SPECS),
  keyUsage: oneOf(KEY_USAGES),
  origin: oneOf(KEY_ORIGINS),
  /** Version that encrypts and signs; 0 while the material is to be imported. */
  currentVersion: Type.Integer(),
  /** How it may be asked to encrypt or to sign. */
  algorithms: Type.Array(Type.String()),
  aliases: Type.Array(Type.String()),
  description: Type.String(),
  tags: Type.Record(Type.String(), Type.String()),
  createdAt: Type.String(),
  /** When the service rotates it by itself next, or null. */
  rotation: nullable(rotation),
  /** When it will be deleted, or null. */
  deletionAt: nullable(Type.String()),
})

const aliasEntry = Type.Object({ alias: Type.String(), keyId: cmkId, createdAt: Type.String() })
const next = nullable(Type.String())
const of = { keyId: cmkId, keyVersion: Type.Integer() }

/** Bodies of answers about keys. */
export const keyAnswers = {
  key,
  /** `next` asks for the page after this one; null on the last. */
  keys: Type.Object({ keys: Type.Array(key), next }),
  encrypt: Type.Object({
    ...of,
    ciphertext: Type.String(),
    encryptionAlgorithm: oneOf(ENCRYPTION_ALGORITHMS),
  }),
  decrypt: Type.Object({
    ...of,
    plaintext: Type.String(),
    encryptionAlgorithm: oneOf(ENCRYPTION_ALGORITHMS),
  }),
  reEncrypt: Type.Object({ ...of, ciphertext: Type.String(), sourceKeyId: cmkId }),
  dataKey: Type.Object({ ...of, plaintext: Type.String(), ciphertext: Type.String() }),
  dataKeyWithoutPlaintext: Type.Object({ ...of, ciphertext: Type.String() }),
  sign: Type.Object({
    ...of,
    signature: Type.String(),
    signingAlgorithm: oneOf(SIGNING_ALGORITHMS),
  }),
  verify: Type.Object({
    ...of,
    valid: Type.Boolean(),
    signingAlgorithm: oneOf(SIGNING_ALGORITHMS),
  }),
  /** `publicKey` is PEM of SubjectPublicKeyInfo. */
  publicKey: Type.Object({
    ...of,
    publicKey: Type.String(),
    keySpec: oneOf(KEY_SPECS),
    keyUsage: oneOf(KEY_USAGES),
    algorithms: Type.Array(Type.String()),
  }),
  alias: aliasEntry,
  aliases: Type.Object({ aliases: Type.Array(aliasEntry), next }),
  aliasDeleted: Type.Object({ alias: Type.String() }),
  importParameters: Type.Object({
    keyId: cmkId,
    /** PEM of SubjectPublicKeyInfo. */
    publicKey: Type.String(),
    importToken: Type.String(),
    wrappingAlgorithm: oneOf(WRAPPING_ALGORITHMS),
    validTo: Type.String(),
  }),
} as const
