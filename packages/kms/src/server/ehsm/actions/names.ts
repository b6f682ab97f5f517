import {
  type DigestName,
  type EncryptionPadding,
  KEY_SPECS,
  type KeySpec,
  type RsaSpec,
  type SignaturePadding,
  type ToSign,
} from '../../crypto/index.ts'
import type { KeyOrigin, KeyUsage } from '../keys/description.ts'

/** Kinds of key by their names on the wire; EH_HMAC is a name that nothing is behind. */
export const KEYSPECS: Readonly<Record<string, KeySpec | 'HMAC'>> = {
  ...Object.fromEntries(KEY_SPECS.map(spec => [`EH_${spec}`, spec])),
  EH_HMAC: 'HMAC',
}

/** Kinds of key that material is imported under. */
export const WRAPPING_KEYSPECS: Readonly<Record<string, RsaSpec>> = {
  EH_RSA_2048: 'RSA_2048',
  EH_RSA_3072: 'RSA_3072',
  EH_RSA_4096: 'RSA_4096',
}

/** Where material is from. */
export const ORIGINS: Readonly<Record<string, KeyOrigin>> = {
  EH_INTERNAL_KEY: 'internal',
  EH_EXTERNAL_KEY: 'external',
}

/** What a key may do. */
export const USAGES: ReadonlyMap<unknown, KeyUsage> = new Map([
  ['EH_KEYUSAGE_ENCRYPT_DECRYPT', 'encrypt-decrypt'],
  ['EH_KEYUSAGE_SIGN_VERIFY', 'sign-verify'],
])

/** What a padding is to encryption and to signatures; undefined where it is for the other. */
export interface Padding {
  readonly encryption: EncryptionPadding | undefined
  readonly signature: SignaturePadding | undefined
}

/** Ways of padding. */
export const PADDINGS: Readonly<Record<string, Padding>> = {
  EH_PAD_NONE: { encryption: 'none', signature: 'none' },
  EH_RSA_PKCS1: { encryption: 'pkcs1', signature: 'pkcs1' },
  EH_RSA_PKCS1_PSS: { encryption: undefined, signature: 'pss' },
  EH_RSA_PKCS1_OAEP: { encryption: 'oaep', signature: undefined },
}

/** Digests. */
export const DIGESTS: Readonly<Record<string, DigestName>> = {
  EH_SHA_224: 'sha224',
  EH_SHA_256: 'sha256',
  EH_SHA_384: 'sha384',
  EH_SHA_512: 'sha512',
  EH_SM3: 'sm3',
}

/** Whether a message is signed, or its digest. */
export const MESSAGE_TYPES: Readonly<Record<string, ToSign['kind']>> = {
  EH_RAW: 'raw',
  EH_DIGEST: 'digest',
}
