import { type Kysely, sql } from 'kysely'
import { StoreError } from './errors.ts'
import type { RowCache } from './row-cache.ts'
import { type Known, knownKey, type RowGuard } from './row-guard.ts'
import { type Schema, TRACKED, type TrackedTable } from './schema.ts'
import type { RowStatements, Statement } from './statements.ts'

/** Tables whose rows are found by an id that is text. */
export type FindableTable = Exclude<TrackedTable, 'audit_log'>

/** One transaction: typed queries, and the guard that proves and stamps the rows. */
export interface StoreTransaction {
  /** A write has the store to itself from its beginning; a read from when it first asks the database. */
  readonly mode: 'read' | 'write'
  readonly db: Kysely<Schema>
  readonly guard: RowGuard

  /**
   * The row of an id, proven; undefined where there is none. It may come from memory: in a read as old
   * as {@link STALENESS_MS}, in a write never old. In reads the same object comes back for as long as
   * the row stands, so that what is made of it can be kept beside it. Nobody changes it.
   * @throws StoreError ROW_MAC
   */
  find<T extends FindableTable>(table: T, id: string): Promise<Schema[T] | undefined>

  /**
   * Inserts a stamped row. Nobody waits for it: it is sent before the next question, or with the
   * commit, which fails where it does.
   */
  insert<T extends keyof Schema>(table: T, row: Schema[T]): void

  /** Inserts a stamped row, or puts it in the place of the one of its id; as {@link insert}. */
  put<T extends TrackedTable>(table: T, row: Schema[T]): void
}

/**
 * For how long a read may go by what a replica knew: a key that was disabled through another one stops
 * within this. Whatever writes, releases above all, sees the present state.
 */
export const STALENESS_MS = 1000

/** A row that was kept, and stands. */
export function keptRow<T extends FindableTable>(
  rows: { known(key: string): Known | undefined },
  cache: RowCache,
  table: T,
  id: string,
): Schema[T] | undefined {
  const key = knownKey(table, id)
  // Kept under the same table's name, in ReadingTransaction.
  return cache.get(key, rows.known(key)) as Schema[T] | undefined
}

const readOnly = () => new StoreError('SQL', 'a transaction that only reads was made to write')

/** Reads and proves a row. @throws StoreError ROW_MAC */
async function findRow<T extends FindableTable>(
  { db, guard }: Pick<StoreTransaction, 'db' | 'guard'>,
  cache: RowCache,
  table: T,
  id: string,
): Promise<Schema[T] | undefined> {
  const isOf = sql`${sql.ref(TRACKED[table])} = ${id}`
  const query = sql<Schema[T]>`select * from ${sql.table(table)} where ${isOf}`
  const [read] = (await query.execute(db)).rows
  const row = guard.proven(table, id, read)
  // Also in a transaction that may be taken back: it is given out only where its MAC is the present one.
  if (row !== undefined) cache.keep(knownKey(table, id), row)
  return row
}

/** What a transaction has that writes. */
interface WritingParts {
  readonly db: Kysely<Schema>
  readonly guard: RowGuard
  readonly cache: RowCache
  readonly rows: RowStatements
  readonly later: (statement: Statement) => void
}

/** A transaction that writes: the store's set of rows is the present one, and so is a row that stands. */
export class WritingTransaction implements StoreTransaction {
  readonly mode = 'write'
  readonly db: Kysely<Schema>
  readonly guard: RowGuard
  readonly #cache: RowCache
  readonly #rows: RowStatements
  readonly #later: (statement: Statement) => void

  constructor({ cache, db, guard, later, rows }: WritingParts) {
    this.db = db
    this.guard = guard
    this.#cache = cache
    this.#rows = rows
    this.#later = later
  }

  async find<T extends FindableTable>(table: T, id: string): Promise<Schema[T] | undefined> {
    return (
      keptRow(this.guard, this.#cache, table, id) ?? (await findRow(this, this.#cache, table, id))
    )
  }

  insert<T extends keyof Schema>(table: T, row: Schema[T]): void {
    this.#later(this.#rows.insert(table, row))
  }

  put<T extends TrackedTable>(table: T, row: Schema[T]): void {
    this.#later(this.#rows.upsert(table, row))
  }
}

/** A transaction that reads: a row that stands may come from memory. */
export class ReadingTransaction implements StoreTransaction {
  readonly mode = 'read'
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
    return (
      keptRow(this.guard, this.#cache, table, id) ?? (await findRow(this, this.#cache, table, id))
    )
  }

  insert(): void {
    throw readOnly()
  }

  put(): void {
    throw readOnly()
  }
}
