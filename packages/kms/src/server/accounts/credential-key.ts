import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { RootKey, Secret } from '../root/index.ts'
import type { SealedSecrets, Store } from '../store/index.ts'

const KEY_NAME = 'credential-key'

/**
 * The key that credentials are hashed under. It is kept, as credentials are not: derived from the
 * root key of the time, it must outlive that root key.
 */
export async function openCredentialKey(
  store: Store,
  secrets: SealedSecrets,
  root: RootKey,
): Promise<Secret> {
  return await secrets.open(store, KEY_NAME, () => root.derive('credential'))
}

/** Hashes credentials, and compares them in constant time. */
export class CredentialHash {
  readonly #key: KeyObject

  /** @param key - Given by {@link openCredentialKey}; disposed of. */
  constructor(key: Secret) {
    this.#key = key.with(bytes => createSecretKey(bytes))
    key.dispose()
  }

  /** HMAC-SHA-256 over the whole text, base64url. */
  of(credential: string): string {
    return this.#bytes(credential).toString('base64url')
  }

  /** Whether `hash` is of this text. The same work is done where there is no hash. */
  isOf(hash: string | null | undefined, credential: string): boolean {
    const seen = this.#bytes(credential)
    const wanted = Buffer.from(hash ?? '', 'base64url')
    const isHash = wanted.length === seen.length
    return timingSafeEqual(isHash ? wanted : Buffer.alloc(seen.length), seen) && isHash
  }

  #bytes(credential: string): Buffer {
    return createHmac('sha256', this.#key).update(credential).digest()
  }
}
