import { type Kysely, sql } from 'kysely'
import type { RowCache } from './row-cache.ts'
import { knownKey, type RowGuard } from './row-guard.ts'
import { type Schema, TRACKED, type TrackedTable } from './schema.ts'

/** Tables whose rows are found by an id that is text. */
export type FindableTable = Exclude<TrackedTable, 'audit_log'>

/** One transaction: typed queries, and the guard that proves and stamps the rows. */
export interface StoreTransaction {
  readonly db: Kysely<Schema>
  readonly guard: RowGuard

  /**
   * The row of an id, proven; undefined where there is none. In a read it may come from memory, and be
   * as old as {@link STALENESS_MS}; the same object comes back for as long as the row stands, so that
   * what is made of it can be kept beside it. Nobody changes it.
   * @throws StoreError ROW_MAC
   */
  find<T extends FindableTable>(table: T, id: string): Promise<Schema[T] | undefined>
}

/**
 * For how long a read may go by what a replica knew: a key that was disabled through another one stops
 * within this. Whatever writes, releases above all, sees the present state.
 */
export const STALENESS_MS = 1000

/** Reads and proves a row. @throws StoreError ROW_MAC */
export async function findRow<T extends FindableTable>(
  { db, guard }: Pick<StoreTransaction, 'db' | 'guard'>,
  table: T,
  id: string,
): Promise<Schema[T] | undefined> {
  const isOf = sql`${sql.ref(TRACKED[table])} = ${id}`
  const query = sql<Schema[T]>`select * from ${sql.table(table)} where ${isOf}`
  const [row] = (await query.execute(db)).rows
  return guard.proven(table, id, row)
}

/** A transaction that writes: every row comes from the database. */
export function writingTransaction(db: Kysely<Schema>, guard: RowGuard): StoreTransaction {
  return { db, guard, find: (table, id) => findRow({ db, guard }, table, id) }
}

/** A transaction that reads: a row that stands may come from memory. */
export class ReadingTransaction implements StoreTransaction {
  readonly guard: RowGuard
  readonly #cache: RowCache
  readonly #connect: () => Kysely<Schema>
  #db: Kysely<Schema> | undefined

  /** @param connect - Called when the database is asked at all. */
  constructor(guard: RowGuard, cache: RowCache, connect: () => Kysely<Schema>) {
    this.guard = guard
    this.#cache = cache
    this.#connect = connect
  }

  get db(): Kysely<Schema> {
    this.#db ??= this.#connect()
    return this.#db
  }

  async find<T extends FindableTable>(table: T, id: string): Promise<Schema[T] | undefined> {
    const key = knownKey(table, id)
    // Kept below, under the same table's name.
    const kept = this.#cache.get(key, this.guard.known(key)) as Schema[T] | undefined
    if (kept !== undefined) return kept
    const row = await findRow(this, table, id)
    if (row !== undefined) this.#cache.keep(key, row)
    return row
  }
}
