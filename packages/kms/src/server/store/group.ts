import { StoreError } from './errors.ts'
import type { StoreTransaction } from './transaction.ts'
import type { WritePlace, Writing } from './writing.ts'

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
 * @returns what settles each caller's promise, to be called when the transaction is on disk
 * @throws StoreError; of one write alone whatever it throws
 */
export async function runTogether(
  writing: Writing,
  place: WritePlace,
  writes: readonly PendingWrite[],
): Promise<readonly (() => void)[]> {
  const settle: (() => void)[] = []
  for (const { reject, run } of writes) {
    try {
      settle.push(await writing.run(place, run))
    } catch (error) {
      if (error instanceof StoreError || writes.length === 1) throw error
      settle.push(() => reject(error))
    }
  }
  return settle
}
