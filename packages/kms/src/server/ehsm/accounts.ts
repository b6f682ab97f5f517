import { createSecretKey, type KeyObject, randomInt, randomUUID } from 'node:crypto'
import { KeyWrap, type RootKey } from '../root/index.ts'
import { type RowRekey, type Store, StoreError, type StoreTransaction } from '../store/index.ts'
import type { EhsmAccountsTable } from '../store/schema.ts'

/** Digits and letters but I, O, l and o, which people take for others. */
const ALPHABET = '0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz'
const API_KEY_LENGTH = 32

const context = (appId: string) => Buffer.from(`api key of ${appId}`)

/** An account under another root key. */
export const rekeyEhsmAccount: RowRekey<'ehsm_accounts'> = async (row, change) => ({
  api_key: change.rewrap('ehsm-wrap', row.api_key, context(row.app_id)),
})

/** Accounts of the eHSM-compatible interface. */
export class EhsmAccounts {
  readonly #wrap: KeyWrap
  /** API keys of rows that stand. */
  readonly #opened = new WeakMap<EhsmAccountsTable, KeyObject>()

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'ehsm-wrap')
  }

  /** Makes an account. The API key is shown this once. */
  async create(
    { db, guard }: StoreTransaction,
    at: Date,
  ): Promise<{ readonly appId: string; readonly apiKey: string }> {
    const appId = randomUUID()
    const apiKey = Array.from({ length: API_KEY_LENGTH }, () =>
      ALPHABET.charAt(randomInt(ALPHABET.length)),
    ).join('')
    const wrapped = this.#wrap.wrap(Buffer.from(apiKey), context(appId))
    const columns = {
      app_id: appId,
      api_key: Buffer.from(wrapped).toString('base64url'),
      created_at: at.getTime(),
    }
    const stamp = guard.stamp<EhsmAccountsTable>('ehsm_accounts', appId, columns)
    await db
      .insertInto('ehsm_accounts')
      .values({ ...columns, ...stamp })
      .execute()
    return { appId, apiKey }
  }

  /** An account's API key; undefined where there is no such account. @throws StoreError ROW_MAC */
  async apiKey(store: Store, appId: string): Promise<KeyObject | undefined> {
    const row = await store.read(tx => tx.find('ehsm_accounts', appId))
    return row === undefined ? undefined : (this.#opened.get(row) ?? this.#open(row))
  }

  /** An account's API key where it is at hand. */
  keptApiKey(store: Store, appId: string): KeyObject | undefined {
    const row = store.kept('ehsm_accounts', appId)
    return row === undefined ? undefined : this.#opened.get(row)
  }

  #open(row: EhsmAccountsTable): KeyObject {
    const { api_key: apiKey, app_id: appId } = row
    const bytes = this.#wrap.unwrap(Buffer.from(apiKey, 'base64url'), context(appId))
    if (bytes === undefined) throw new StoreError('ROW_MAC', `account ${appId} does not unwrap`)
    const key = createSecretKey(bytes)
    bytes.fill(0)
    this.#opened.set(row, key)
    return key
  }
}
