import { KmsError } from '../../protocol/errors.ts'
import type { SealedSecrets, Store } from '../store/index.ts'
import { ENROLMENT_FILE, StoredToken } from './stored-token.ts'

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
    const token = await StoredToken.open(store, secrets, dataDir, ENROLMENT_FILE)
    return new EnrolmentToken(store, token)
  }

  /**
   * Takes the token; the next one is in the file before this returns.
   * @throws KmsError ENROLMENT_REFUSED; StoreError
   */
  async take(offered: string): Promise<void> {
    // Nothing is written for whoever guesses.
    if (!(await this.#store.read(tx => this.#token.isOffered(tx, offered)))) throw refused()
    await this.#store.write(async tx => {
      if (!(await this.#token.isOffered(tx, offered))) throw refused()
      await this.#token.replace(tx)
    })
    await this.#token.show()
  }
}

const refused = () =>
  new KmsError(
    'ENROLMENT_REFUSED',
    `not the enrolment token; the current one is in the file ${ENROLMENT_FILE} of the data folder`,
  )
