import { randomBytes } from 'node:crypto'
import type { StoreTransaction } from '../store/index.ts'
import type { TenantAccountsTable } from '../store/schema.ts'
import { AccountError } from './errors.ts'
import type { TenantId } from './tenants.ts'

declare const brand: unique symbol

/** What may be told about an account. */
export interface AccountDescription {
  /** 32 lower-case hexadecimal digits. */
  readonly accountId: string
  readonly tenantId: TenantId
  readonly name: string
  readonly kind: 'person' | 'service'
  /** Administrators make and disable the accounts of their tenant. They do not act for them. */
  readonly role: 'administrator' | 'member'
  readonly state: 'enabled' | 'disabled'
  readonly createdAt: string
}

/**
 * An account found in the tenant of whoever asks. What is done with accounts takes one of these, and
 * only {@link Accounts} makes them: no id of another tenant's account gets there.
 */
export type TenantAccount = AccountDescription & { readonly [brand]: 'TenantAccount' }

/** An account to be made. */
export interface NewAccount {
  readonly tenantId: TenantId
  readonly name: string
  readonly kind: AccountDescription['kind']
  readonly role: AccountDescription['role']
}

/** The accounts of all tenants, each found through its tenant. */
export class Accounts {
  /** Makes an account. */
  async create(
    tx: StoreTransaction,
    account: NewAccount,
    at: Date,
    accountId: string = randomBytes(16).toString('hex'),
  ): Promise<TenantAccount> {
    const row = rowOf(tx, { ...account, accountId, state: 'enabled', createdAt: at.toISOString() })
    tx.insert('tenant_accounts', row)
    return accountFrom(row)
  }

  /** A tenant's accounts, oldest first. @throws StoreError ROW_MAC */
  async list(
    { db, guard }: StoreTransaction,
    tenantId: TenantId,
  ): Promise<readonly TenantAccount[]> {
    const query = db.selectFrom('tenant_accounts').selectAll().where('tenant_id', '=', tenantId)
    const rows = await query.orderBy('created_at').orderBy('account_id').execute()
    for (const row of rows) guard.proven('tenant_accounts', row.account_id, row)
    return rows.map(accountFrom)
  }

  /**
   * An account of a tenant. One of another tenant is not found either.
   * @throws AccountError NOT_FOUND
   */
  async inTenant(
    tx: StoreTransaction,
    tenantId: TenantId,
    accountId: string,
  ): Promise<TenantAccount> {
    const found = await this.anywhere(tx, accountId)
    if (found?.tenantId === tenantId) return found
    throw new AccountError('NOT_FOUND', `there is no account ${accountId} in this tenant`)
  }

  /** An account of whatever tenant: of a proven credential, or the owner of a key. */
  async anywhere(tx: StoreTransaction, accountId: string): Promise<TenantAccount | undefined> {
    const row = await tx.find('tenant_accounts', accountId)
    return row === undefined ? undefined : accountFrom(row)
  }

  /** Refuses an account's credentials, or takes them again. */
  async setState(
    tx: StoreTransaction,
    account: TenantAccount,
    state: AccountDescription['state'],
  ): Promise<TenantAccount> {
    const row = rowOf(tx, { ...account, state })
    tx.put('tenant_accounts', row)
    return accountFrom(row)
  }
}

/** An account's row, of the version after the one that there is. */
function rowOf({ guard }: StoreTransaction, account: AccountDescription): TenantAccountsTable {
  const { accountId, createdAt, kind, name, role, state, tenantId } = account
  const columns = {
    account_id: accountId,
    tenant_id: tenantId,
    name,
    kind,
    role,
    state,
    created_at: createdAt,
  }
  return { ...columns, ...guard.stamp<TenantAccountsTable>('tenant_accounts', accountId, columns) }
}

function accountFrom(row: TenantAccountsTable): TenantAccount {
  const { kind, name, role, state } = row
  const account: AccountDescription = {
    accountId: row.account_id,
    tenantId: row.tenant_id as TenantId,
    name,
    kind,
    role,
    state,
    createdAt: row.created_at,
  }
  return account as TenantAccount
}
