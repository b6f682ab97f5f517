import { createPublicKey, randomBytes } from 'node:crypto'
import {
  type EncryptionContext,
  encodeCiphertext,
  encodeCiphertextContext,
  parseCiphertext,
} from '../../protocol/ciphertext.ts'
import {
  CryptoError,
  DIGEST_LENGTH,
  decryptWith,
  encryptTo,
  isRsa,
  publicPem,
  signWith,
  type ToSign,
  verifyWith,
} from '../crypto/index.ts'
import { KeyError } from './errors.ts'
import type { OpenedKey } from './keys.ts'
import {
  algorithmsOf,
  cryptoSpecOf,
  DEFAULT_SPEC,
  type EncryptionAlgorithm,
  PADDING,
  SIGNING,
  type SigningAlgorithm,
} from './spec.ts'

/** What is encrypted or decrypted, and how. */
export interface DataRequest {
  readonly bytes: Uint8Array
  readonly context: EncryptionContext
  /** The one that the key has unless told. */
  readonly algorithm?: EncryptionAlgorithm | undefined
}

/** Encrypts under an opened key. @throws KeyError KEY_USAGE; KmsError MALFORMED */
export function encryptUnder(opened: OpenedKey, request: DataRequest): Uint8Array {
  const algorithm = algorithmFor(opened, request)
  if (opened.kind === 'symmetric') {
    const place = { keyId: opened.key.keyId, keyVersion: opened.version }
    const associated = encodeCiphertextContext(place, request.context)
    return encodeCiphertext({ ...place, sealed: opened.wrap.wrap(request.bytes, associated) })
  }
  const padding = paddingOf(algorithm)
  return withPrivateKey(opened, key => encryptTo(key, padding, request.bytes))
}

/**
 * Decrypts under an opened key, which must be of the version that the ciphertext names.
 * @throws KeyError CIPHERTEXT, KEY_USAGE; KmsError CIPHERTEXT_INVALID, MALFORMED
 */
export function decryptUnder(opened: OpenedKey, request: DataRequest): Uint8Array {
  const algorithm = algorithmFor(opened, request)
  if (opened.kind === 'asymmetric') {
    const padding = paddingOf(algorithm)
    return withPrivateKey(opened, key => decryptWith(key, padding, request.bytes))
  }
  const ciphertext = parseCiphertext(request.bytes)
  const associated = encodeCiphertextContext(ciphertext, request.context)
  const plaintext = opened.wrap.unwrap(ciphertext.sealed, associated)
  if (plaintext !== undefined) return plaintext
  throw new KeyError('CIPHERTEXT', 'the ciphertext is not of this key and encryption context')
}

/** A fresh data key, in plaintext for the caller to zero and as a ciphertext. @throws KeyError KEY_USAGE */
export function newDataKey(
  opened: OpenedKey,
  length: number,
  context: EncryptionContext,
): { readonly plaintext: Uint8Array; readonly ciphertext: Uint8Array } {
  if (opened.kind !== 'symmetric') {
    const { keyId, spec } = opened.key
    throw new KeyError('KEY_USAGE', `key ${keyId}: wanted ${DEFAULT_SPEC}, seen ${spec}`)
  }
  const plaintext = new Uint8Array(randomBytes(length))
  return { plaintext, ciphertext: encryptUnder(opened, { bytes: plaintext, context }) }
}

/** What is signed, and how. */
export interface SignRequest {
  readonly kind: ToSign['kind']
  readonly message: Uint8Array
  readonly algorithm: SigningAlgorithm
}

/** Signs. @throws KeyError KEY_USAGE */
export function signUnder(opened: OpenedKey, request: SignRequest): Uint8Array {
  const { digest, padding } = signingOf(opened, request)
  const toSign = { kind: request.kind, bytes: request.message, digest }
  return withPrivateKey(opened, key => signWith(key, padding, toSign))
}

/** Whether a signature is of a key. @throws KeyError KEY_USAGE */
export function verifyUnder(
  opened: OpenedKey,
  request: SignRequest & { readonly signature: Uint8Array },
): boolean {
  const { digest, padding } = signingOf(opened, request)
  const toSign = { kind: request.kind, bytes: request.message, digest }
  if (request.kind === 'digest' && request.message.length !== DIGEST_LENGTH[digest]) {
    const wanted = `wanted ${DIGEST_LENGTH[digest]} bytes`
    throw new KeyError('KEY_USAGE', `the digest: ${wanted}, seen ${request.message.length}`)
  }
  return withPrivateKey(opened, key => {
    try {
      return verifyWith(key, padding, toSign, request.signature)
    } catch (error) {
      // What is not as long as the key's signatures is none.
      if (error instanceof CryptoError && error.code === 'LENGTH') return false
      throw error
    }
  })
}

/** The public half: PEM of SubjectPublicKeyInfo. @throws KeyError KEY_USAGE */
export function publicKeyOf(opened: OpenedKey): string {
  return withPrivateKey(opened, key => {
    const pem = publicPem(key)
    // OpenSSL in Node knows no SM2 keys; theirs, and EC's, are SubjectPublicKeyInfo already.
    if (!isRsa(key.spec)) return pem
    return createPublicKey(pem).export({ type: 'spki', format: 'pem' }).toString()
  })
}

function algorithmFor({ key }: OpenedKey, request: DataRequest): EncryptionAlgorithm {
  const [own] = algorithmsOf(key.spec, key.usage)
  const wanted = request.algorithm ?? own
  if (own === undefined || wanted !== own) {
    throw new KeyError('KEY_USAGE', `key ${key.keyId}: wanted ${own ?? 'none'}, seen ${wanted}`)
  }
  if (own !== DEFAULT_SPEC && Object.keys(request.context).length > 0) {
    throw new KeyError('KEY_USAGE', `a ${key.spec} key binds no encryption context`)
  }
  // Of a key that encrypts, the list has encryption algorithms.
  return own as EncryptionAlgorithm
}

function paddingOf(algorithm: EncryptionAlgorithm) {
  if (algorithm !== DEFAULT_SPEC) return PADDING[algorithm]
  throw new KeyError('KEY_USAGE', `${algorithm} is for symmetric keys`)
}

function signingOf({ key }: OpenedKey, { algorithm, kind }: SignRequest) {
  const known = algorithmsOf(key.spec, key.usage)
  if (!known.includes(algorithm)) {
    const wanted = known.join(' or ')
    throw new KeyError('KEY_USAGE', `key ${key.keyId}: wanted ${wanted}, seen ${algorithm}`)
  }
  // The digest of SM2 has the signer's own key in it: whoever made one elsewhere made another.
  if (algorithm === 'SM2DSA' && kind === 'digest') {
    throw new KeyError('KEY_USAGE', 'SM2DSA signs messages, not digests')
  }
  return SIGNING[algorithm]
}

/** What a kind of key does not do, or a length that it does not take, is the caller's mistake. */
function withPrivateKey<T>(opened: OpenedKey, use: (key: Parameters<typeof publicPem>[0]) => T): T {
  const { keyId, spec } = opened.key
  if (opened.kind !== 'asymmetric') {
    throw new KeyError('KEY_USAGE', `key ${keyId} is symmetric: it has no private and public half`)
  }
  try {
    return opened.material.with(material => use({ spec: cryptoSpecOf(spec), material }))
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause
    throw cause.code === 'DECRYPT'
      ? new KeyError('CIPHERTEXT', 'the ciphertext is not of this key', { cause })
      : new KeyError('KEY_USAGE', cause.message, { cause })
  }
}
