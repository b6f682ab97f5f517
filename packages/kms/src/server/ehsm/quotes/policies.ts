import { randomUUID } from 'node:crypto'
import type { StoreTransaction } from '../../store/index.ts'
import type { EhsmQuotePoliciesTable } from '../../store/schema.ts'

/** The measurements that an account wants quotes to bear. */
export type QuotePolicy = Readonly<EhsmQuotePoliciesTable>

/** Keeps a policy, and gives its id. */
export async function addQuotePolicy(
  { db, guard }: StoreTransaction,
  policy: { readonly appId: string; readonly mrEnclave: string; readonly mrSigner: string },
  at: Date,
): Promise<string> {
  const policyId = randomUUID()
  const columns = {
    policy_id: policyId,
    app_id: policy.appId,
    mr_enclave: policy.mrEnclave,
    mr_signer: policy.mrSigner,
    created_at: at.getTime(),
  }
  const stamp = guard.stamp<EhsmQuotePoliciesTable>('ehsm_quote_policies', policyId, columns)
  await db
    .insertInto('ehsm_quote_policies')
    .values({ ...columns, ...stamp })
    .execute()
  return policyId
}

/** A policy of an account's; undefined where there is none, or it is another's. */
export async function findQuotePolicy(
  { db, guard }: StoreTransaction,
  appId: string,
  policyId: string,
): Promise<QuotePolicy | undefined> {
  const query = db.selectFrom('ehsm_quote_policies').selectAll().where('policy_id', '=', policyId)
  const row = guard.proven('ehsm_quote_policies', policyId, await query.executeTakeFirst())
  return row?.app_id === appId ? row : undefined
}
