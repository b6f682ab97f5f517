import { join } from 'node:path'
import { isSameToken, newToken, readToken, writeToken } from './token-file.ts'

/** Name of the file, in the data folder, that holds the token. */
export const AUDIT_TOKEN_FILE = 'audit-token'

/** The token that reads the whole audit log. Whoever may read the data folder has it. */
export class AuditToken {
  readonly #token: string

  private constructor(token: string) {
    this.#token = token
  }

  /** Reads the token of a data folder, or makes it. @throws KmsError INTEGRITY */
  static async open(dataDir: string): Promise<AuditToken> {
    const path = join(dataDir, AUDIT_TOKEN_FILE)
    const found = await readToken(path)
    if (found !== undefined) return new AuditToken(found)
    const token = newToken()
    await writeToken(path, token)
    return new AuditToken(token)
  }

  /** Whether this is it. */
  isOffered(offered: string): boolean {
    return isSameToken(offered, this.#token)
  }
}
