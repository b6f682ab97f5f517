import { join } from 'node:path'
import type { SealedSecrets, Store, StoreTransaction } from '../store/index.ts'
import { StoredToken } from './stored-token.ts'
import { isSameToken } from './token-file.ts'

/** Name of the file, in the data folder, of the token that reads the whole audit log. */
export const AUDIT_TOKEN_FILE = 'audit-token'

/**
 * Name of the file, in the data folder, of the operator's token: it makes tenants and their
 * administrators, and withdraws measurements. It acts for no account.
 */
export const OPERATOR_TOKEN_FILE = 'operator-token'

/** Names of the tokens that stand until they are replaced. */
export const STANDING_TOKEN_FILES = [AUDIT_TOKEN_FILE, OPERATOR_TOKEN_FILE] as const

/** The token as it is stored. */
export function standingTokenOf(
  store: Store,
  secrets: SealedSecrets,
  dataDir: string,
  name: (typeof STANDING_TOKEN_FILES)[number],
): StoredToken {
  return new StoredToken(store, secrets, { name, path: join(dataDir, name) })
}

/**
 * A token that stands until it is replaced, the same for all replicas. A file in the data folder shows
 * it: whoever may read that has it.
 */
export class StandingToken {
  readonly #stored: StoredToken

  private constructor(stored: StoredToken) {
    this.#stored = stored
  }

  /** Reads the token, or makes it. @throws KmsError INTEGRITY, StoreError */
  static async open(
    store: Store,
    secrets: SealedSecrets,
    dataDir: string,
    name: (typeof STANDING_TOKEN_FILES)[number],
  ): Promise<StandingToken> {
    const stored = standingTokenOf(store, secrets, dataDir, name)
    await stored.open()
    stored.follow()
    return new StandingToken(stored)
  }

  /** Whether this is it; in constant time. @throws StoreError ROW_MAC */
  async isOffered(tx: StoreTransaction, offered: string): Promise<boolean> {
    if (offered === '') return false
    const token = await this.#stored.current(tx)
    return token !== undefined && isSameToken(offered, token)
  }

  /** Puts a new token in its place, and gives it; the one before is worth nothing from then on. */
  async replace(tx: StoreTransaction): Promise<string> {
    return await this.#stored.replace(tx)
  }

  /** Has this replica's file show the token as it stands. */
  async show(): Promise<void> {
    await this.#stored.show()
  }
}
