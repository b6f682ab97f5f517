import { hkdfSync } from 'node:crypto'
import { Secret } from './secret.ts'

/** Length of the root key and of each key derived from it, in bytes. */
export const ROOT_KEY_LENGTH = 32

/** What a derived key is for; each purpose has a key of its own. */
export type RootPurpose =
  | 'root-check'
  | 'row-mac'
  | 'row-set'
  | 'cmk-wrap'
  | 'secret-wrap'
  | 'import-token'
  | 'credential'
  | 'challenge'
  | 'run-secret'
  | 'ehsm-wrap'
  | 'ehsm-import'

/** The key that everything the KMS stores is protected under. Used for derivation only. */
export class RootKey {
  readonly #secret: Secret

  private constructor(secret: Secret) {
    this.#secret = secret
  }

  /** Copies `bytes`, which must be exactly 32. */
  static from(bytes: Uint8Array): RootKey {
    if (bytes.length !== ROOT_KEY_LENGTH) {
      throw new RangeError(`a root key is ${ROOT_KEY_LENGTH} bytes, not ${bytes.length}`)
    }
    return new RootKey(Secret.from(bytes))
  }

  /** Derives the 32-byte key for one purpose (HKDF-SHA-256, empty salt, label as info). */
  derive(purpose: RootPurpose): Secret {
    return this.#secret.with(root => {
      const info = `cloister kms v1 ${purpose}`
      const bytes = new Uint8Array(hkdfSync('sha256', root, '', info, ROOT_KEY_LENGTH))
      const derived = Secret.from(bytes)
      bytes.fill(0)
      return derived
    })
  }

  /** Whether it can be derived from. */
  get isOpen(): boolean {
    return !this.#secret.isDisposed
  }

  /** Zeroes the root key. Keys already derived live on. */
  dispose(): void {
    this.#secret.dispose()
  }
}
