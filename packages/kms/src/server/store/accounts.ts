import {
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import type { RootKey, Secret } from '../root/index.ts'
import type { AccountsTable } from './schema.ts'
import type { SealedSecrets } from './sealed-secrets.ts'
import type { Store } from './store.ts'
import type { StoreTransaction } from './transaction.ts'

const CREDENTIAL = /^([0-9a-f]{32})\.([A-Za-z0-9_-]{43})$/

const KEY_NAME = 'credential-key'

/**
 * The key that credentials are hashed under. It is kept, as credentials are not: derived from the
 * root key of the time, it must outlive that root key.
 */
export async function openCredentialKey(
  store: Store,
  secrets: SealedSecrets,
  root: RootKey,
): Promise<Secret> {
  return await secrets.open(store, KEY_NAME, () => root.derive('credential'))
}

/** Accounts and their credentials. A credential is `<account id>.<32 random bytes, base64url>`. */
export class Accounts {
  readonly #key: KeyObject

  /** @param key - Given by {@link openCredentialKey}; disposed of. */
  constructor(key: Secret) {
    this.#key = key.with(bytes => createSecretKey(bytes))
    key.dispose()
  }

  /** Makes an account. The credential is not stored and cannot be had again. */
  async create(
    { db, guard }: StoreTransaction,
    at: Date,
  ): Promise<{ readonly accountId: string; readonly credential: string }> {
    const accountId = randomBytes(16).toString('hex')
    const credential = `${accountId}.${randomBytes(32).toString('base64url')}`
    const columns = {
      account_id: accountId,
      credential_hash: this.#hash(credential).toString('base64url'),
      created_at: at.toISOString(),
    }
    const stamp = guard.stamp<AccountsTable>('accounts', accountId, columns)
    await db
      .insertInto('accounts')
      .values({ ...columns, ...stamp })
      .execute()
    return { accountId, credential }
  }

  /** Returns the account that a credential is of, or undefined where it is of none. */
  async authenticate(tx: StoreTransaction, credential: string): Promise<string | undefined> {
    const accountId = CREDENTIAL.exec(credential)?.[1]
    if (accountId === undefined) return undefined
    const row = await tx.find('accounts', accountId)
    if (row === undefined) return undefined
    const stored = Buffer.from(row.credential_hash, 'base64url')
    return timingSafeEqual(stored, this.#hash(credential)) ? accountId : undefined
  }

  /** How many accounts there are. */
  async count({ db }: StoreTransaction): Promise<number> {
    const query = db.selectFrom('accounts').select(eb => eb.fn.countAll<number>().as('count'))
    return (await query.executeTakeFirstOrThrow()).count
  }

  #hash(credential: string): Buffer {
    return createHmac('sha256', this.#key).update(credential).digest()
  }
}
