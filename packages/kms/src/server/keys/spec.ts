import type { Static } from '@sinclair/typebox'
import type { keyRequests } from '../../protocol/messages/keys.ts'
import type { DigestName, EncryptionPadding, KeySpec, SignaturePadding } from '../crypto/index.ts'
import { KeyError } from './errors.ts'

type CreateKey = Static<typeof keyRequests.createKey>

/** Kinds of CMK. */
export type CmkSpec = NonNullable<CreateKey['keySpec']>

/** What a CMK does. */
export type CmkUsage = NonNullable<CreateKey['keyUsage']>

/** Ways to sign. */
export type SigningAlgorithm = Static<typeof keyRequests.sign>['signingAlgorithm']

/** Ways to encrypt. */
export type EncryptionAlgorithm = NonNullable<
  Static<typeof keyRequests.encrypt>['encryptionAlgorithm']
>

/** The kind that wraps DEKs, and that a key is of unless told. */
export const DEFAULT_SPEC = 'SYMMETRIC_DEFAULT'

/** What a CMK does unless told. */
export const DEFAULT_USAGE = 'ENCRYPT_DECRYPT'

interface Kind {
  readonly crypto: KeySpec
  readonly usages: readonly [CmkUsage, ...CmkUsage[]]
  readonly encryption: EncryptionAlgorithm | undefined
  readonly signing: readonly SigningAlgorithm[]
}

const RSA_SIGNING = [
  'RSASSA_PSS_SHA_256',
  'RSASSA_PSS_SHA_384',
  'RSASSA_PSS_SHA_512',
  'RSASSA_PKCS1_V1_5_SHA_256',
  'RSASSA_PKCS1_V1_5_SHA_384',
  'RSASSA_PKCS1_V1_5_SHA_512',
] as const

const rsa = (crypto: KeySpec): Kind => ({
  crypto,
  usages: ['ENCRYPT_DECRYPT', 'SIGN_VERIFY'],
  encryption: 'RSAES_OAEP_SHA_256',
  signing: RSA_SIGNING,
})

const ec = (crypto: KeySpec, algorithm: SigningAlgorithm): Kind => ({
  crypto,
  usages: ['SIGN_VERIFY'],
  encryption: undefined,
  signing: [algorithm],
})

/** What each kind of key is and does. */
const KINDS: Readonly<Record<CmkSpec, Kind>> = {
  SYMMETRIC_DEFAULT: {
    crypto: 'AES_GCM_256',
    usages: ['ENCRYPT_DECRYPT'],
    encryption: 'SYMMETRIC_DEFAULT',
    signing: [],
  },
  RSA_2048: rsa('RSA_2048'),
  RSA_3072: rsa('RSA_3072'),
  RSA_4096: rsa('RSA_4096'),
  ECC_NIST_P256: ec('EC_P256', 'ECDSA_SHA_256'),
  ECC_NIST_P384: ec('EC_P384', 'ECDSA_SHA_384'),
  ECC_NIST_P521: ec('EC_P521', 'ECDSA_SHA_512'),
  ECC_SECG_P256K1: ec('EC_P256K', 'ECDSA_SHA_256'),
  SM2: {
    crypto: 'SM2',
    usages: ['ENCRYPT_DECRYPT', 'SIGN_VERIFY'],
    encryption: 'SM2PKE',
    signing: ['SM2DSA'],
  },
}

/** How each algorithm signs. */
export const SIGNING: Readonly<
  Record<SigningAlgorithm, { readonly padding: SignaturePadding; readonly digest: DigestName }>
> = {
  RSASSA_PSS_SHA_256: { padding: 'pss', digest: 'sha256' },
  RSASSA_PSS_SHA_384: { padding: 'pss', digest: 'sha384' },
  RSASSA_PSS_SHA_512: { padding: 'pss', digest: 'sha512' },
  RSASSA_PKCS1_V1_5_SHA_256: { padding: 'pkcs1', digest: 'sha256' },
  RSASSA_PKCS1_V1_5_SHA_384: { padding: 'pkcs1', digest: 'sha384' },
  RSASSA_PKCS1_V1_5_SHA_512: { padding: 'pkcs1', digest: 'sha512' },
  ECDSA_SHA_256: { padding: 'none', digest: 'sha256' },
  ECDSA_SHA_384: { padding: 'none', digest: 'sha384' },
  ECDSA_SHA_512: { padding: 'none', digest: 'sha512' },
  SM2DSA: { padding: 'none', digest: 'sm3' },
}

/** How an asymmetric key of a kind pads what it encrypts. */
export const PADDING: Readonly<
  Record<Exclude<EncryptionAlgorithm, typeof DEFAULT_SPEC>, EncryptionPadding>
> = { RSAES_OAEP_SHA_256: 'oaep', SM2PKE: 'none' }

/** The name that the cryptographic part has for a kind. */
export const cryptoSpecOf = (spec: CmkSpec): KeySpec => KINDS[spec].crypto

/** The algorithms that a key of a kind and usage may be asked for. */
export function algorithmsOf(spec: CmkSpec, usage: CmkUsage): readonly string[] {
  const { encryption, signing } = KINDS[spec]
  if (usage === 'SIGN_VERIFY') return signing
  return encryption === undefined ? [] : [encryption]
}

/**
 * The usage of a new key: the one asked for, or the only one that its kind has.
 * @throws KeyError KEY_USAGE
 */
export function usageFor(spec: CmkSpec, wanted: CmkUsage | undefined): CmkUsage {
  const { usages } = KINDS[spec]
  const [first, ...others] = usages
  if (wanted === undefined && others.length === 0) return first
  if (wanted !== undefined && usages.includes(wanted)) return wanted
  const seen = wanted ?? 'none'
  throw new KeyError(
    'KEY_USAGE',
    `keyUsage of a ${spec} key: wanted ${usages.join(' or ')}, seen ${seen}`,
  )
}
