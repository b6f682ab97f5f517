import type { StoreTransaction } from '../store/index.ts'
import type { KeyGrantsTable } from '../store/schema.ts'
import type { TenantAccount } from './accounts.ts'
import { AccountError } from './errors.ts'

/** What an owner lets another account of its tenant do with a key. */
export interface KeyUseGrant {
  readonly keyId: string
  readonly accountId: string
  /** Names of acts, such as `wrap`, as they stand in the audit log. */
  readonly actions: readonly string[]
  readonly createdAt: string
}

const idOf = (keyId: string, accountId: string): string => `${keyId}/${accountId}`

/** Grants of the use of keys. Without one, no account uses another's key. */
export class KeyGrants {
  /** Grants the use of a key, in place of what was granted before. */
  async put(
    tx: StoreTransaction,
    keyId: string,
    { accountId }: TenantAccount,
    actions: readonly string[],
    at: Date,
  ): Promise<KeyUseGrant> {
    const id = idOf(keyId, accountId)
    const columns = {
      id,
      key_id: keyId,
      account_id: accountId,
      actions: JSON.stringify(actions),
      created_at: at.toISOString(),
    }
    const row = { ...columns, ...tx.guard.stamp<KeyGrantsTable>('key_grants', id, columns) }
    tx.put('key_grants', row)
    return grantFrom(row)
  }

  /** What was granted of a key. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction, keyId: string): Promise<readonly KeyUseGrant[]> {
    const query = db.selectFrom('key_grants').selectAll().where('key_id', '=', keyId)
    const rows = await query.orderBy('id').execute()
    for (const row of rows) guard.proven('key_grants', row.id, row)
    return rows.map(grantFrom)
  }

  /** Takes a grant back. @throws AccountError NOT_FOUND */
  async remove({ db, guard }: StoreTransaction, keyId: string, accountId: string): Promise<void> {
    const id = idOf(keyId, accountId)
    if (!guard.has('key_grants', id)) {
      throw new AccountError('NOT_FOUND', `nothing of key ${keyId} is granted to ${accountId}`)
    }
    guard.remove('key_grants', id)
    await db.deleteFrom('key_grants').where('id', '=', id).execute()
  }

  /** Whether an account may do an act with another's key. @throws StoreError ROW_MAC */
  async allows(
    tx: StoreTransaction,
    keyId: string,
    { accountId }: TenantAccount,
    action: string,
  ): Promise<boolean> {
    const id = idOf(keyId, accountId)
    if (!tx.guard.has('key_grants', id)) return false
    const row = await tx.find('key_grants', id)
    return row !== undefined && grantFrom(row).actions.includes(action)
  }
}

function grantFrom(row: KeyGrantsTable): KeyUseGrant {
  const { account_id: accountId, created_at: createdAt, key_id: keyId } = row
  const actions: unknown = JSON.parse(row.actions)
  const names = Array.isArray(actions) ? actions.filter(name => typeof name === 'string') : []
  return { keyId, accountId, actions: names, createdAt }
}
