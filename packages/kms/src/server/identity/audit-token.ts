import { join } from 'node:path'
import type { SealedSecrets, Store } from '../store/index.ts'
import { StoredToken } from './stored-token.ts'
import { isSameToken } from './token-file.ts'

/** Name of the file, in the data folder, that shows the token. */
export const AUDIT_TOKEN_FILE = 'audit-token'

/** The token that reads the whole audit log. Whoever may read the data folder has it. */
export class AuditToken {
  readonly #token: string

  private constructor(token: string) {
    this.#token = token
  }

  /** Reads the token, or makes it. @throws KmsError INTEGRITY, StoreError */
  static async open(store: Store, secrets: SealedSecrets, dataDir: string): Promise<AuditToken> {
    const file = { name: AUDIT_TOKEN_FILE, path: join(dataDir, AUDIT_TOKEN_FILE) }
    return new AuditToken(await new StoredToken(store, secrets, file).open())
  }

  /** Whether this is it. */
  isOffered(offered: string): boolean {
    return isSameToken(offered, this.#token)
  }
}
