import { join } from 'node:path'
import { KmsError } from '../../protocol/errors.ts'
import { isSameToken, newToken, readToken, writeToken } from './token-file.ts'

/** Name of the file, in the data folder, that holds the token. */
export const ENROLMENT_FILE = 'enrolment-token'

/**
 * The token that opens one account. Whoever may read the data folder may enrol; each token works
 * once, and the file then holds the next.
 */
export class EnrolmentToken {
  readonly #path: string
  #current: string

  private constructor(path: string, current: string) {
    this.#path = path
    this.#current = current
  }

  /** Reads the token of a data folder, or makes the first. */
  static async open(dataDir: string): Promise<EnrolmentToken> {
    const path = join(dataDir, ENROLMENT_FILE)
    const found = await readToken(path)
    if (found !== undefined) return new EnrolmentToken(path, found)
    const token = new EnrolmentToken(path, newToken())
    await writeToken(path, token.#current)
    return token
  }

  /**
   * Takes the token; the next one is in the file before this returns.
   * @throws KmsError ENROLMENT_REFUSED
   */
  async take(offered: string): Promise<void> {
    if (!isSameToken(offered, this.#current)) {
      throw new KmsError(
        'ENROLMENT_REFUSED',
        `not the enrolment token; the current one is in the file ${ENROLMENT_FILE} of the data folder`,
      )
    }
    this.#current = newToken()
    await writeToken(this.#path, this.#current)
  }
}
