import type { Static } from '@sinclair/typebox'
import { type EncryptionContext, parseCiphertext } from '../protocol/ciphertext.ts'
import { fromBase64Url, toBase64Url } from '../protocol/encoding.ts'
import { answers, type requests } from '../protocol/messages.ts'
import { Calls } from './calls.ts'

/** Ways to sign. */
export type SigningAlgorithm = Static<typeof requests.sign>['signingAlgorithm']

/** What a ciphertext is bound to. */
export interface Bound {
  /** Named values, no secrets, that must be given again to decrypt; none unless told. */
  readonly encryptionContext?: EncryptionContext
}

/** What is signed, and how. */
export interface ToSign {
  readonly signingAlgorithm: SigningAlgorithm
  /** `DIGEST` where the message is hashed already; `RAW` unless told. */
  readonly messageType?: 'RAW' | 'DIGEST'
}

/** Bytes encrypted, and the key version that did it. */
export interface Encrypted {
  readonly keyId: string
  readonly keyVersion: number
  readonly ciphertext: Uint8Array
}

/** A data key; the caller zeroes its plaintext after use. */
export interface DataKey extends Encrypted {
  readonly plaintext: Uint8Array
}

/** The public half of a key. */
export type PublicKey = Static<typeof answers.publicKey>

/**
 * Uses of open keys by their owner. A key is named by its id, or as `alias/<alias>`. Of attested-only
 * keys all of this is refused with KEY_ATTESTED_ONLY.
 */
export abstract class DataClient extends Calls {
  /** Encrypts up to 4096 bytes; for more, see {@link DataClient.generateDataKey}. */
  async encrypt(key: string, plaintext: Uint8Array, bound: Bound = {}): Promise<Encrypted> {
    const body = { plaintext: toBase64Url(plaintext), ...bound }
    return encryptedFrom(await this.post(pathOf(key, 'encrypt'), body, answers.encrypt, true))
  }

  /**
   * Decrypts what {@link DataClient.encrypt} gave, or a data key.
   * @param options.key - The key that it must be under. Without it the ciphertext is asked, which
   * whoever gave it has chosen; a ciphertext of an asymmetric key names none.
   */
  async decrypt(
    ciphertext: Uint8Array,
    options: Bound & { readonly key?: string } = {},
  ): Promise<Uint8Array> {
    const { key = parseCiphertext(ciphertext).keyId, ...bound } = options
    const body = { ciphertext: toBase64Url(ciphertext), ...bound }
    const answer = await this.post(pathOf(key, 'decrypt'), body, answers.decrypt, true)
    return fromBase64Url('plaintext', answer.plaintext)
  }

  /** From one ciphertext to another, under the newest version or another open key. */
  async reEncrypt(
    keyId: string,
    ciphertext: Uint8Array,
    how: Omit<Static<typeof requests.reEncrypt>, 'ciphertext'> = {},
  ): Promise<Encrypted> {
    const body = { ciphertext: toBase64Url(ciphertext), ...how }
    return encryptedFrom(
      await this.post(pathOf(keyId, 're-encrypt'), body, answers.reEncrypt, true),
    )
  }

  /**
   * A fresh data key: use its plaintext here, zero it, and keep its ciphertext beside the data.
   * @param options.length - Bytes, 1 to 1024; 32 unless told
   */
  async generateDataKey(
    key: string,
    options: Bound & { readonly length?: number } = {},
  ): Promise<DataKey> {
    const path = pathOf(key, 'generate-data-key')
    const answer = await this.post(path, options, answers.dataKey, true)
    return { ...encryptedFrom(answer), plaintext: fromBase64Url('data key', answer.plaintext) }
  }

  /** A fresh data key that only whoever may decrypt it will see. */
  async generateDataKeyWithoutPlaintext(
    key: string,
    options: Bound & { readonly length?: number } = {},
  ): Promise<Encrypted> {
    const path = pathOf(key, 'generate-data-key-without-plaintext')
    return encryptedFrom(await this.post(path, options, answers.dataKeyWithoutPlaintext, true))
  }

  /** Signs a message of up to 4096 bytes, or a digest. */
  async sign(key: string, message: Uint8Array, how: ToSign): Promise<Uint8Array> {
    const body = { message: toBase64Url(message), ...how }
    const answer = await this.post(pathOf(key, 'sign'), body, answers.sign, true)
    return fromBase64Url('signature', answer.signature)
  }

  /** Whether a signature is of a key. */
  async verify(
    key: string,
    message: Uint8Array,
    signature: Uint8Array,
    how: ToSign,
  ): Promise<boolean> {
    const body = {
      message: toBase64Url(message),
      signature: toBase64Url(signature),
      ...how,
    }
    return (await this.post(pathOf(key, 'verify'), body, answers.verify, true)).valid
  }

  /** The public half of an asymmetric key. */
  async getPublicKey(key: string): Promise<PublicKey> {
    return await this.get(pathOf(key, 'public-key'), answers.publicKey)
  }
}

const pathOf = (key: string, verb: string): string => `/v1/keys/${encodeURIComponent(key)}/${verb}`

function encryptedFrom(answer: {
  readonly keyId: string
  readonly keyVersion: number
  readonly ciphertext: string
}): Encrypted {
  const { keyId, keyVersion } = answer
  return { keyId, keyVersion, ciphertext: fromBase64Url('ciphertext', answer.ciphertext) }
}
