import { join } from 'node:path'
import { isSameToken, newToken, readToken, writeToken } from './token-file.ts'

/** Name of the file, in the data folder, of the token that reads the whole audit log. */
export const AUDIT_TOKEN_FILE = 'audit-token'

/**
 * Name of the file, in the data folder, of the operator's token: it makes tenants and their
 * administrators, and withdraws measurements. It acts for no account.
 */
export const OPERATOR_TOKEN_FILE = 'operator-token'

/** A token that stands in the data folder for as long as its file does. Whoever may read that has it. */
export class StandingToken {
  readonly #token: string

  private constructor(token: string) {
    this.#token = token
  }

  /** Reads the token of a data folder, or makes it. @throws KmsError INTEGRITY */
  static async open(
    dataDir: string,
    file: typeof AUDIT_TOKEN_FILE | typeof OPERATOR_TOKEN_FILE,
  ): Promise<StandingToken> {
    const path = join(dataDir, file)
    const found = await readToken(path)
    if (found !== undefined) return new StandingToken(found)
    const token = newToken()
    await writeToken(path, token)
    return new StandingToken(token)
  }

  /** Whether this is it; in constant time. */
  isOffered(offered: string): boolean {
    return isSameToken(offered, this.#token)
  }
}
