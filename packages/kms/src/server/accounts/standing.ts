import type { StoreTransaction } from '../store/index.ts'
import type { Accounts, TenantAccount } from './accounts.ts'
import type { Tenants } from './tenants.ts'

/** An account that is taken, or why it is not. */
export type Standing =
  | { readonly account: TenantAccount }
  | { readonly refused: 'ACCOUNT_DISABLED' | 'TENANT_DISABLED'; readonly message: string }

/** Tells whether an account may act, and others act with what is its own. @throws StoreError ROW_MAC */
export async function standingOf(
  { accounts, tenants }: { readonly accounts: Accounts; readonly tenants: Tenants },
  tx: StoreTransaction,
  accountId: string,
): Promise<Standing> {
  const account = await accounts.anywhere(tx, accountId)
  if (account?.state !== 'enabled') {
    return { refused: 'ACCOUNT_DISABLED', message: 'the account is disabled' }
  }
  const tenant = await tenants.find(tx, account.tenantId)
  if (tenant?.state !== 'enabled') {
    return { refused: 'TENANT_DISABLED', message: 'the tenant is disabled' }
  }
  return { account }
}
