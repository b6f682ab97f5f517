import { StoreError, type StoreTransaction } from '../store/index.ts'
import type { PoliciesTable, PolicySetsTable } from '../store/schema.ts'

/**
 * Which policies a key has, in the order that they were added. A row of its own says so: whoever
 * could take a policy that forbids out of the answer to a query would otherwise permit.
 */
export class PolicySets {
  /** The rows of a key's policies. @throws StoreError ROW_MAC also where one is missing */
  async ofKey(tx: StoreTransaction, keyId: string): Promise<readonly PoliciesTable[]> {
    const rows: PoliciesTable[] = []
    for (const policyId of await this.#idsOf(tx, keyId)) {
      const row = await tx.find('policies', policyId)
      if (row === undefined) {
        throw new StoreError('ROW_MAC', `policy ${policyId} of key ${keyId} was taken away`)
      }
      rows.push(row)
    }
    return rows
  }

  /** Adds a policy to its key's. */
  async add(tx: StoreTransaction, keyId: string, policyId: string): Promise<void> {
    await this.#write(tx, keyId, [...(await this.#idsOf(tx, keyId)), policyId])
  }

  /** Takes a policy out of its key's. */
  async remove(tx: StoreTransaction, keyId: string, policyId: string): Promise<void> {
    const ids = await this.#idsOf(tx, keyId)
    await this.#write(
      tx,
      keyId,
      ids.filter(id => id !== policyId),
    )
  }

  /** Notes which policies keys have, for those added before this was noted. Run when all rows are proven. */
  async adopt(tx: StoreTransaction): Promise<void> {
    const query = tx.db.selectFrom('policies').selectAll()
    for (const row of await query.orderBy('created_at').orderBy('policy_id').execute()) {
      const { key_id: keyId, policy_id: policyId } = row
      tx.guard.proven('policies', policyId, row)
      const ids = await this.#idsOf(tx, keyId)
      if (!ids.includes(policyId)) await this.#write(tx, keyId, [...ids, policyId])
    }
  }

  async #idsOf(tx: StoreTransaction, keyId: string): Promise<readonly string[]> {
    if (!tx.guard.has('policy_sets', keyId)) return []
    const row = await tx.find('policy_sets', keyId)
    return row === undefined || row.policy_ids === '' ? [] : row.policy_ids.split(' ')
  }

  async #write(tx: StoreTransaction, keyId: string, ids: readonly string[]): Promise<void> {
    const columns = { key_id: keyId, policy_ids: ids.join(' ') }
    const row = { ...columns, ...tx.guard.stamp<PolicySetsTable>('policy_sets', keyId, columns) }
    tx.put('policy_sets', row)
  }
}
