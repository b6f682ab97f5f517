import { join } from 'node:path'
import { replaceFile } from '../../durable-files.ts'
import { Secret } from '../root/index.ts'
import type { SealedSecrets, Store, StoreTransaction } from '../store/index.ts'
import { isSameToken, newToken, readToken } from './token-file.ts'

/** Name of the file, in the data folder, of the token that opens an account. */
export const ENROLMENT_FILE = 'enrolment-token'

/** Name of the file, in the data folder, of the token that reads the whole audit log. */
export const AUDIT_TOKEN_FILE = 'audit-token'

/**
 * Name of the file, in the data folder, of the operator's token: it makes tenants and their
 * administrators, and withdraws measurements. It acts for no account.
 */
export const OPERATOR_TOKEN_FILE = 'operator-token'

/** Every token of a key service. */
export const TOKEN_FILES = [ENROLMENT_FILE, AUDIT_TOKEN_FILE, OPERATOR_TOKEN_FILE] as const

/**
 * A token that all replicas of a key service know. It is kept in the store; a file in the data folder
 * shows it to whoever may read that.
 */
export class StoredToken {
  readonly #store: Store
  readonly #secrets: SealedSecrets
  readonly #name: string
  readonly #path: string
  /** The last time that the file was written, or is to be. */
  #shown: Promise<unknown> = Promise.resolve()

  /** @param name - Its name among the secrets, and the file's that shows it. */
  constructor(
    store: Store,
    secrets: SealedSecrets,
    dataDir: string,
    name: (typeof TOKEN_FILES)[number],
  ) {
    this.#store = store
    this.#secrets = secrets
    this.#name = name
    this.#path = join(dataDir, name)
  }

  /**
   * Reads the token, or makes it; its file follows from then on.
   * @throws KmsError INTEGRITY when others may read the file, or it holds no token; StoreError
   */
  static async open(...parts: ConstructorParameters<typeof StoredToken>): Promise<StoredToken> {
    const token = new StoredToken(...parts)
    await token.#open()
    token.#follow()
    return token
  }

  /** A file of before tokens were stored gives the first. */
  async #open(): Promise<void> {
    const shown = await readToken(this.#path)
    const secret = await this.#secrets.open(this.#store, this.#name, () =>
      Secret.from(Buffer.from(shown ?? newToken())),
    )
    const token = textOf(secret)
    if (token !== shown) await replaceFile(this.#path, token)
  }

  /** Whether this is it, as it stands; in constant time. @throws StoreError ROW_MAC */
  async isOffered(tx: StoreTransaction, offered: string): Promise<boolean> {
    if (offered === '') return false
    const token = await this.#current(tx)
    return token !== undefined && isSameToken(offered, token)
  }

  async #current(tx: StoreTransaction): Promise<string | undefined> {
    const secret = await this.#secrets.get(tx, this.#name)
    return secret === undefined ? undefined : textOf(secret)
  }

  /** Puts a new token in its place, and gives it; the one before is worth nothing from then on. */
  async replace(tx: StoreTransaction): Promise<string> {
    const token = newToken()
    await this.#secrets.put(tx, this.#name, Secret.from(Buffer.from(token)))
    return token
  }

  /** Has the file show the token as it stands: one after the other, so that the newest stays. */
  async show(): Promise<void> {
    const shown = this.#shown.then(async () => {
      const token = await this.#store.read(tx => this.#current(tx))
      if (token !== undefined) await replaceFile(this.#path, token)
    })
    this.#shown = shown.catch(() => undefined)
    await shown
  }

  /** Has the file follow when another replica puts a new token in place. */
  #follow(): void {
    this.#store.watch('secrets', ids => {
      if (!ids.includes(this.#name)) return
      // The file is old until the next token, or the next start, where this fails: what it shows is refused.
      setImmediate(() => void this.show().catch(() => undefined))
    })
  }
}

function textOf(secret: Secret): string {
  const text = secret.with(bytes => Buffer.from(bytes).toString())
  secret.dispose()
  return text
}
