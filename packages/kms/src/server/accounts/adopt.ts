import { SCOPES } from '../../protocol/scopes.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { CredentialsTable } from '../store/schema.ts'
import type { Accounts, NewAccount } from './accounts.ts'
import { DEFAULT_TENANT, type Tenants } from './tenants.ts'

/** What enrolment opens. */
export const ENROLLED: NewAccount = {
  tenantId: DEFAULT_TENANT,
  name: 'enrolled',
  kind: 'person',
  role: 'member',
}

/**
 * Makes the default tenant, and moves the accounts of before there were tenants into it. Their
 * credentials stay what they were: an account's id was the id of its one credential.
 * @throws StoreError ROW_MAC
 */
export async function adoptAccounts(
  { accounts, tenants }: { readonly accounts: Accounts; readonly tenants: Tenants },
  tx: StoreTransaction,
  at: Date,
): Promise<void> {
  await tenants.ensureDefault(tx, at)
  for (const row of await tx.db.selectFrom('accounts').selectAll().execute()) {
    const { account_id: accountId, created_at, credential_hash: hash } = row
    tx.guard.proven('accounts', accountId, row)
    await accounts.create(tx, ENROLLED, new Date(created_at), accountId)
    const columns = {
      credential_id: accountId,
      account_id: accountId,
      name: ENROLLED.name,
      hash,
      certificate: null,
      scopes: JSON.stringify(SCOPES),
      key_ids: null,
      created_at,
      expires_at: null,
      revoked_at: null,
      replaced_by: null,
    }
    const stamp = tx.guard.stamp<CredentialsTable>('credentials', accountId, columns)
    tx.insert('credentials', { ...columns, ...stamp })
    tx.guard.remove('accounts', accountId)
    await tx.db.deleteFrom('accounts').where('account_id', '=', accountId).execute()
  }
}
