import { join } from 'node:path'
import type { SealedSecrets, Store } from '../store/index.ts'
import { StoredToken } from './stored-token.ts'
import { isSameToken } from './token-file.ts'

/** Name of the file, in the data folder, of the token that reads the whole audit log. */
export const AUDIT_TOKEN_FILE = 'audit-token'

/**
 * Name of the file, in the data folder, of the operator's token: it makes tenants and their
 * administrators, and withdraws measurements. It acts for no account.
 */
export const OPERATOR_TOKEN_FILE = 'operator-token'

/**
 * A token that stands for as long as the key service does, the same for all replicas. A file in the
 * data folder shows it: whoever may read that has it.
 */
export class StandingToken {
  readonly #token: string

  private constructor(token: string) {
    this.#token = token
  }

  /** Reads the token, or makes it. @throws KmsError INTEGRITY, StoreError */
  static async open(
    store: Store,
    secrets: SealedSecrets,
    dataDir: string,
    name: typeof AUDIT_TOKEN_FILE | typeof OPERATOR_TOKEN_FILE,
  ): Promise<StandingToken> {
    const file = { name, path: join(dataDir, name) }
    return new StandingToken(await new StoredToken(store, secrets, file).open())
  }

  /** Whether this is it; in constant time. */
  isOffered(offered: string): boolean {
    return isSameToken(offered, this.#token)
  }
}
