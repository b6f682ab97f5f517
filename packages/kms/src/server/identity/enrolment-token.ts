import { join } from 'node:path'
import { KmsError } from '../../protocol/errors.ts'
import type { SealedSecrets, Store } from '../store/index.ts'
import { StoredToken } from './stored-token.ts'
import { isSameToken } from './token-file.ts'

/** Name of the file, in the data folder, that shows the token. */
export const ENROLMENT_FILE = 'enrolment-token'

/** The token as it is stored. */
export function enrolmentTokenOf(
  store: Store,
  secrets: SealedSecrets,
  dataDir: string,
): StoredToken {
  const file = { name: ENROLMENT_FILE, path: join(dataDir, ENROLMENT_FILE) }
  return new StoredToken(store, secrets, file)
}

/**
 * The token that opens one account. Whoever may read the data folder may enrol; each token works
 * once, whichever replica it is offered to, and the file then shows the next.
 */
export class EnrolmentToken {
  readonly #store: Store
  readonly #token: StoredToken

  private constructor(store: Store, token: StoredToken) {
    this.#store = store
    this.#token = token
  }

  /** Reads the token, or makes the first. @throws KmsError INTEGRITY, StoreError */
  static async open(
    store: Store,
    secrets: SealedSecrets,
    dataDir: string,
  ): Promise<EnrolmentToken> {
    const token = enrolmentTokenOf(store, secrets, dataDir)
    await token.open()
    token.follow()
    return new EnrolmentToken(store, token)
  }

  /**
   * Takes the token; the next one is in the file before this returns.
   * @throws KmsError ENROLMENT_REFUSED; StoreError
   */
  async take(offered: string): Promise<void> {
    // Nothing is written for whoever guesses.
    if (!(await this.#store.read(tx => this.#isCurrent(tx, offered)))) throw refused()
    await this.#store.write(async tx => {
      if (!(await this.#isCurrent(tx, offered))) throw refused()
      await this.#token.replace(tx)
    })
    await this.#token.show()
  }

  async #isCurrent(tx: Parameters<StoredToken['current']>[0], offered: string): Promise<boolean> {
    const current = await this.#token.current(tx)
    return current !== undefined && isSameToken(offered, current)
  }
}

const refused = () =>
  new KmsError(
    'ENROLMENT_REFUSED',
    `not the enrolment token; the current one is in the file ${ENROLMENT_FILE} of the data folder`,
  )
