import { sql } from 'kysely'
import { StoreError } from './errors.ts'
import { type StoreTransaction, writingTransaction } from './transaction.ts'

/** Most writes that share a commit, and so a sync of the disk. */
export const MAX_GROUP = 64

/** A write that waits for its turn. */
export interface PendingWrite {
  /** Does the work, and gives what settles the caller's promise once its changes are on disk. */
  readonly run: (tx: StoreTransaction) => Promise<() => void>
  /** Tells the caller that nothing of the work stays. */
  readonly reject: (error: unknown) => void
}

/** Makes a write of some work. */
export function pendingWrite<T>(
  work: (tx: StoreTransaction) => Promise<T>,
  resolve: (value: T) => void,
  reject: (error: unknown) => void,
): PendingWrite {
  const run = async (tx: StoreTransaction) => {
    const value = await work(tx)
    return () => resolve(value)
  }
  return { run, reject }
}

/**
 * Runs writes one after the other in one transaction; a write that throws leaves nothing behind, and
 * the others stay. Whatever is wrong with the database itself is thrown, and nothing may be committed.
 * The guard takes over the changes of the writes that did not throw.
 * @returns what settles each caller's promise, to be called when the transaction is on disk
 * @throws StoreError
 */
export async function runTogether(
  { db, guard }: StoreTransaction,
  writes: readonly PendingWrite[],
): Promise<readonly (() => void)[]> {
  const settle: (() => void)[] = []
  for (const { reject, run } of writes) {
    const own = guard.nested()
    await sql`savepoint one_write`.execute(db)
    try {
      settle.push(await run(writingTransaction(db, own)))
      guard.absorb(own)
    } catch (error) {
      if (error instanceof StoreError) throw error
      await sql`rollback to one_write`.execute(db)
      settle.push(() => reject(error))
    }
    // Fails if the database gave up the transaction meanwhile, whatever the work made of that.
    await sql`release one_write`.execute(db)
  }
  return settle
}
