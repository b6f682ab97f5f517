import { StoreError } from './errors.ts'
import type { Schema, Stamp, TrackedTable } from './schema.ts'
import type { StoreTransaction } from './store.ts'

const MAX_ROWS = 10_000

/**
 * Rows of one table that many calls need, kept in memory. A row that is kept is proven anew at each
 * use, as one that was just read would be: it serves only while it is what this KMS last wrote.
 */
export class ProvenRows<T extends TrackedTable> {
  readonly #table: T
  readonly #kept = new Map<string, Schema[T] & Stamp>()

  constructor(table: T) {
    this.#table = table
  }

  /** The row of an id; undefined where there is none. @throws StoreError ROW_MAC */
  async get(
    tx: StoreTransaction,
    id: string,
    read: () => Promise<(Schema[T] & Stamp) | undefined>,
  ): Promise<(Schema[T] & Stamp) | undefined> {
    const kept = this.#kept.get(id)
    if (kept !== undefined && this.#stands(tx, id, kept)) return kept
    const row = tx.guard.proven(this.#table, id, await read())
    this.#kept.delete(id)
    if (row === undefined) return undefined
    const [oldest] = this.#kept.keys()
    if (this.#kept.size >= MAX_ROWS && oldest !== undefined) this.#kept.delete(oldest)
    this.#kept.set(id, row)
    return row
  }

  #stands({ guard }: StoreTransaction, id: string, row: Schema[T] & Stamp): boolean {
    try {
      guard.proven(this.#table, id, row)
      return true
    } catch (error) {
      if (error instanceof StoreError && error.code === 'ROW_MAC') return false
      throw error
    }
  }
}
