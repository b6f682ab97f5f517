import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { pooledRandomBytes } from './random-pool.ts'
import type { RootKey, RootPurpose } from './root-key.ts'

const VERSION = 1
const NONCE_LENGTH = 12
const TAG_LENGTH = 16

/** Bytes that wrapping adds. */
const WRAP_OVERHEAD = 1 + NONCE_LENGTH + TAG_LENGTH

/**
 * Wraps secrets under one key with AES-256-GCM: format version byte 1, nonce (12), ciphertext, tag
 * (16). Nonces are random: at most 2^32 wraps under one key.
 * @see NIST SP 800-38D, section 8.3
 */
export class KeyWrap {
  readonly #key: KeyObject

  /** @param key - 32 bytes, copied. */
  constructor(key: Uint8Array) {
    if (key.length !== 32) throw new RangeError(`a wrapping key is 32 bytes, not ${key.length}`)
    this.#key = createSecretKey(key)
  }

  /** Wraps under the root's key for one purpose. */
  static derivedFrom(root: RootKey, purpose: RootPurpose): KeyWrap {
    const secret = root.derive(purpose)
    const wrap = secret.with(bytes => new KeyWrap(bytes))
    secret.dispose()
    return wrap
  }

  /** Encrypts `plaintext`, bound to `associatedData`. */
  wrap(plaintext: Uint8Array, associatedData: Uint8Array): Uint8Array {
    const nonce = pooledRandomBytes(NONCE_LENGTH)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_LENGTH })
    cipher.setAAD(associatedData)
    const parts = [Uint8Array.of(VERSION), nonce, cipher.update(plaintext), cipher.final()]
    return new Uint8Array(Buffer.concat([...parts, cipher.getAuthTag()]))
  }

  /**
   * Decrypts what {@link KeyWrap.wrap} made.
   * @returns The plaintext, or undefined where anything at all is wrong: which, is not told.
   */
  unwrap(wrapped: Uint8Array, associatedData: Uint8Array): Uint8Array | undefined {
    if (wrapped.length < WRAP_OVERHEAD || wrapped[0] !== VERSION) return undefined
    const nonce = wrapped.subarray(1, 1 + NONCE_LENGTH)
    const tagOffset = wrapped.length - TAG_LENGTH
    const cipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_LENGTH })
    cipher.setAAD(associatedData)
    cipher.setAuthTag(wrapped.subarray(tagOffset))
    const plaintext = cipher.update(wrapped.subarray(1 + NONCE_LENGTH, tagOffset))
    try {
      cipher.final()
      return new Uint8Array(plaintext)
    } catch {
      return undefined
    } finally {
      plaintext.fill(0)
    }
  }
}
