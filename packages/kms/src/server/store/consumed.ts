import type { ConsumedTable } from './schema.ts'
import type { StoreTransaction } from './transaction.ts'

/** What may be used once. */
export type ConsumedKind = 'challenge' | 'token' | 'release' | 'heads'

/** Most rows that one purge removes, so that it never holds the store for long. */
const PURGE_LIMIT = 1000

/**
 * Notes that something was used.
 * @param use - `expiresAt`: from when on it would be refused for its age, and may be forgotten.
 * @returns Whether this was the first use.
 */
export async function consume(
  tx: StoreTransaction,
  use: { readonly kind: ConsumedKind; readonly id: string; readonly expiresAt: Date },
): Promise<boolean> {
  const id = `${use.kind}:${use.id}`
  if (tx.guard.has('consumed', id)) return false
  const columns = { id, expires_at: use.expiresAt.getTime() }
  tx.insert('consumed', { ...columns, ...tx.guard.stamp<ConsumedTable>('consumed', id, columns) })
  return true
}

/** Forgets what expired before `now`, up to 1000 at a time, and returns how many that were. */
export async function purgeConsumed({ db, guard }: StoreTransaction, now: Date): Promise<number> {
  const rows = await db
    .selectFrom('consumed')
    .selectAll()
    .where('expires_at', '<', now.getTime())
    .limit(PURGE_LIMIT)
    .execute()
  // Proven first: an expiry edited with SQL must not make the store forget a use.
  for (const row of rows) guard.proven('consumed', row.id, row)
  for (const { id } of rows) guard.remove('consumed', id)
  const ids = rows.map(({ id }) => id)
  if (ids.length > 0) await db.deleteFrom('consumed').where('id', 'in', ids).execute()
  return ids.length
}
