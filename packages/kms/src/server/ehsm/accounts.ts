import { createSecretKey, type KeyObject, randomInt, randomUUID } from 'node:crypto'
import { AccountError } from '../accounts/index.ts'
import { KeyWrap, type RootKey } from '../root/index.ts'
import { type RowRekey, type Store, StoreError, type StoreTransaction } from '../store/index.ts'
import type { Columns, EhsmAccountsTable } from '../store/schema.ts'

/** Digits and letters but I, O, l and o, which people take for others. */
const ALPHABET = '0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz'
const API_KEY_LENGTH = 32

const context = (appId: string) => Buffer.from(`api key of ${appId}`)

/** An account under another root key. */
export const rekeyEhsmAccount: RowRekey<'ehsm_accounts'> = async (row, change) => {
  const rewrap = (wrapped: string) => change.rewrap('ehsm-wrap', wrapped, context(row.app_id))
  const previous = row.previous_api_key
  return {
    api_key: rewrap(row.api_key),
    previous_api_key: previous === null ? null : rewrap(previous),
  }
}

/** An account without its API keys, as the operator sees it. */
export interface EhsmAccount {
  readonly appId: string
  readonly state: 'enabled' | 'disabled'
  readonly createdAt: Date
  /** Until when the API key before the present one is taken; null where there is none. */
  readonly previousEndsAt: Date | null
}

/** An account with what its requests are signed with. */
export interface OpenedAccount extends EhsmAccount {
  /** Changes with whatever is changed of the account. */
  readonly rowVersion: number
  readonly apiKey: KeyObject
  readonly previousApiKey: KeyObject | undefined
  /** Whether the API key replaced another, and nothing that it signed has come yet. */
  readonly isUnused: boolean
}

/** Accounts of the eHSM-compatible interface. */
export class EhsmAccounts {
  readonly #wrap: KeyWrap
  /** Accounts of rows that stand. */
  readonly #opened = new WeakMap<EhsmAccountsTable, OpenedAccount>()

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'ehsm-wrap')
  }

  /** Makes an account. The API key is shown this once. */
  async create(
    tx: StoreTransaction,
    at: Date,
  ): Promise<{ readonly appId: string; readonly apiKey: string }> {
    const appId = randomUUID()
    const apiKey = newApiKey()
    put(tx, {
      app_id: appId,
      api_key: this.#wrapped(apiKey, appId),
      created_at: at.getTime(),
      state: null,
      previous_api_key: null,
      previous_ends_at: null,
      is_unused: null,
    })
    return { appId, apiKey }
  }

  /** An account; undefined where there is none. @throws StoreError ROW_MAC */
  async find(store: Store, appId: string): Promise<OpenedAccount | undefined> {
    const row = await store.read(tx => tx.find('ehsm_accounts', appId))
    return row === undefined ? undefined : (this.#opened.get(row) ?? this.#open(row))
  }

  /** An account as it stands, and not as this replica last saw it. @throws StoreError ROW_MAC */
  async findNow(store: Store, appId: string): Promise<OpenedAccount | undefined> {
    const row = await store.read(async ({ db, guard }) => {
      const query = db.selectFrom('ehsm_accounts').selectAll().where('app_id', '=', appId)
      return guard.proven('ehsm_accounts', appId, await query.executeTakeFirst())
    })
    return row === undefined ? undefined : this.#open(row)
  }

  /** An account where it is at hand. */
  kept(store: Store, appId: string): OpenedAccount | undefined {
    const row = store.kept('ehsm_accounts', appId)
    return row === undefined ? undefined : this.#opened.get(row)
  }

  /** All accounts, the oldest first. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction): Promise<readonly EhsmAccount[]> {
    const query = db.selectFrom('ehsm_accounts').selectAll().orderBy('created_at').orderBy('app_id')
    const rows = await query.execute()
    for (const row of rows) guard.proven('ehsm_accounts', row.app_id, row)
    return rows.map(accountFrom)
  }

  /** Refuses an account's requests, or takes them again. @throws AccountError NOT_FOUND */
  async setState(
    tx: StoreTransaction,
    appId: string,
    state: EhsmAccount['state'],
  ): Promise<EhsmAccount> {
    const row = await found(tx, appId)
    return accountFrom(put(tx, { ...row, state: state === 'disabled' ? state : null }))
  }

  /** Notes that the API key which an account was given was received: something came that it signed. */
  async noteUsed(tx: StoreTransaction, { appId, rowVersion }: OpenedAccount): Promise<void> {
    const row = await found(tx, appId)
    // Of an account that has changed since, the next request tells.
    if (row.row_version === rowVersion) put(tx, { ...row, is_unused: null })
  }

  /**
   * Gives an account another API key; the one that signed for it is taken until `previousEndsAt`.
   * @param account - As it was when the request was proven
   * @param by - Where it is the previous one, the present one, which nobody has, is given up
   * @returns The API key, shown this once; undefined where the account is no longer what it was
   * @throws AccountError NOT_FOUND
   */
  async rotate(
    tx: StoreTransaction,
    { appId, rowVersion }: OpenedAccount,
    by: 'present-key' | 'previous-key',
    previousEndsAt: Date,
  ): Promise<string | undefined> {
    const row = await found(tx, appId)
    if (row.row_version !== rowVersion) return undefined
    const apiKey = newApiKey()
    put(tx, {
      ...row,
      api_key: this.#wrapped(apiKey, appId),
      previous_api_key: by === 'present-key' ? row.api_key : row.previous_api_key,
      previous_ends_at: previousEndsAt.getTime(),
      is_unused: 1,
    })
    return apiKey
  }

  #wrapped(apiKey: string, appId: string): string {
    return Buffer.from(this.#wrap.wrap(Buffer.from(apiKey), context(appId))).toString('base64url')
  }

  #open(row: EhsmAccountsTable): OpenedAccount {
    const previous = row.previous_api_key
    const opened = {
      ...accountFrom(row),
      rowVersion: row.row_version,
      apiKey: this.#unwrapped(row.api_key, row.app_id),
      previousApiKey: previous === null ? undefined : this.#unwrapped(previous, row.app_id),
      isUnused: row.is_unused !== null,
    }
    this.#opened.set(row, opened)
    return opened
  }

  #unwrapped(wrapped: string, appId: string): KeyObject {
    const bytes = this.#wrap.unwrap(Buffer.from(wrapped, 'base64url'), context(appId))
    if (bytes === undefined) throw new StoreError('ROW_MAC', `account ${appId} does not unwrap`)
    const key = createSecretKey(bytes)
    bytes.fill(0)
    return key
  }
}

function newApiKey(): string {
  return Array.from({ length: API_KEY_LENGTH }, () =>
    ALPHABET.charAt(randomInt(ALPHABET.length)),
  ).join('')
}

async function found(tx: StoreTransaction, appId: string): Promise<EhsmAccountsTable> {
  const row = await tx.find('ehsm_accounts', appId)
  if (row === undefined) throw new AccountError('NOT_FOUND', `there is no eHSM account ${appId}`)
  return row
}

function put(tx: StoreTransaction, columns: Columns<EhsmAccountsTable>): EhsmAccountsTable {
  const { api_key, app_id, created_at, is_unused, state } = columns
  const { previous_api_key, previous_ends_at } = columns
  const previous = { previous_api_key, previous_ends_at, is_unused }
  const written = { app_id, api_key, created_at, state, ...previous }
  const stamp = tx.guard.stamp<EhsmAccountsTable>('ehsm_accounts', app_id, written)
  const row = { ...written, ...stamp }
  tx.put('ehsm_accounts', row)
  return row
}

function accountFrom(row: EhsmAccountsTable): EhsmAccount {
  const { app_id: appId, created_at: createdAt, previous_ends_at: endsAt, state } = row
  return {
    appId,
    state: state ?? 'enabled',
    createdAt: new Date(createdAt),
    previousEndsAt: endsAt === null ? null : new Date(endsAt),
  }
}
