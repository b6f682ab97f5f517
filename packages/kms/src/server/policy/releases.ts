import type { StoreTransaction } from '../store/index.ts'
import type { ReleaseCountsTable } from '../store/schema.ts'
import type { Releases } from './request.ts'

type Counted = 'key' | 'policy'

/**
 * Counts of releases, under each key and by each policy. They move in the transaction that releases,
 * so that a limit holds however many ask at once, and whichever replica they ask.
 */
export class ReleaseCounts {
  /** How often there was a release. @throws StoreError ROW_MAC */
  async of(tx: StoreTransaction, counted: Counted, subject: string): Promise<number> {
    const id = `${counted}:${subject}`
    if (!tx.guard.has('release_counts', id)) return 0
    return (await tx.find('release_counts', id))?.releases ?? 0
  }

  /**
   * Releases before this one.
   * @param policyIds - The key's policies
   * @param countedBy - Policies that the release counted by which this goes on with
   */
  async before(
    tx: StoreTransaction,
    keyId: string,
    policyIds: readonly string[],
    countedBy: ReadonlySet<string>,
  ): Promise<Releases> {
    const others = (count: number, own: boolean) => Math.max(0, count - (own ? 1 : 0))
    const ofPolicy = new Map<string, number>()
    for (const id of policyIds) {
      ofPolicy.set(id, others(await this.of(tx, 'policy', id), countedBy.has(id)))
    }
    // It counted under the key where one of the key's policies permitted it.
    const own = policyIds.some(id => countedBy.has(id))
    return { ofKey: others(await this.of(tx, 'key', keyId), own), ofPolicy }
  }

  /** Counts one release more. */
  async add(tx: StoreTransaction, counted: Counted, subject: string): Promise<void> {
    const id = `${counted}:${subject}`
    const columns = { id, releases: (await this.of(tx, counted, subject)) + 1 }
    const stamp = tx.guard.stamp<ReleaseCountsTable>('release_counts', id, columns)
    tx.put('release_counts', { ...columns, ...stamp })
  }

  /** Forgets a policy that is no more. */
  async forgetPolicy({ db, guard }: StoreTransaction, policyId: string): Promise<void> {
    const id = `policy:${policyId}`
    if (!guard.has('release_counts', id)) return
    guard.remove('release_counts', id)
    await db.deleteFrom('release_counts').where('id', '=', id).execute()
  }
}
