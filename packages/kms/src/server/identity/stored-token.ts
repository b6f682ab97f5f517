import { replaceFile } from '../../durable-files.ts'
import { Secret } from '../root/index.ts'
import type { SealedSecrets, Store, StoreTransaction } from '../store/index.ts'
import { newToken, readToken } from './token-file.ts'

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

  /** @param token - `name`: its name among the secrets; `path`: the file that shows it. */
  constructor(
    store: Store,
    secrets: SealedSecrets,
    token: { readonly name: string; readonly path: string },
  ) {
    this.#store = store
    this.#secrets = secrets
    this.#name = token.name
    this.#path = token.path
  }

  /**
   * Reads the token, or makes it; a file of before tokens were stored gives the first.
   * @throws KmsError INTEGRITY when others may read the file, or it holds no token; StoreError
   */
  async open(): Promise<string> {
    const shown = await readToken(this.#path)
    const secret = await this.#secrets.open(this.#store, this.#name, () =>
      Secret.from(Buffer.from(shown ?? newToken())),
    )
    const token = textOf(secret)
    if (token !== shown) await replaceFile(this.#path, token)
    return token
  }

  /** The token as it stands. @throws StoreError ROW_MAC */
  async current(tx: StoreTransaction): Promise<string | undefined> {
    const secret = await this.#secrets.get(tx, this.#name)
    return secret === undefined ? undefined : textOf(secret)
  }

  /** Puts a new token in its place, and gives it. */
  async replace(tx: StoreTransaction): Promise<string> {
    const token = newToken()
    await this.#secrets.put(tx, this.#name, Secret.from(Buffer.from(token)))
    return token
  }

  /** Has the file show the token as it stands: one after the other, so that the newest stays. */
  async show(): Promise<void> {
    const shown = this.#shown.then(async () => {
      const token = await this.#store.read(tx => this.current(tx))
      if (token !== undefined) await replaceFile(this.#path, token)
    })
    this.#shown = shown.catch(() => undefined)
    await shown
  }

  /** Has the file follow when another replica puts a new token in place. */
  follow(): void {
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
