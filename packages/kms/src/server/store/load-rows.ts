import { type Kysely, sql } from 'kysely'
import type { Database, StoredState } from './database.ts'
import { StoreError } from './errors.ts'
import type { RowKeys } from './row-keys.ts'
import { RowSet } from './row-set.ts'
import { type Schema, TRACKED, type TrackedTable } from './schema.ts'
import { STATE_ID, statementFrom } from './statements.ts'

/** Rows that are read at once. */
const PAGE = 2000

/** Demands that a database is of a root key. @throws StoreError WRONG_ROOT_KEY */
export function requireRoot(state: StoredState, keys: RowKeys): void {
  if (state.root_check === keys.rootCheck()) return
  throw new StoreError('WRONG_ROOT_KEY', 'the database belongs to another root key')
}

/**
 * Reads and proves all rows that decisions depend on, in the transaction at hand.
 * @param state - The state row, as read in the same transaction
 * @throws StoreError ROW_MAC, WRONG_ROOT_KEY
 */
export async function loadRows(
  db: Kysely<Schema>,
  keys: RowKeys,
  state: StoredState | undefined,
): Promise<RowSet> {
  if (state !== undefined) requireRoot(state, keys)
  const rows = new RowSet(keys)
  for (const table of Object.keys(TRACKED) as TrackedTable[]) await loadTable(db, table, rows)
  if (state !== undefined) rows.finishLoading(state)
  else if (rows.size > 0) {
    throw new StoreError('ROW_MAC', 'the database has rows, and its state row is missing')
  }
  return rows
}

async function loadTable(db: Kysely<Schema>, table: TrackedTable, rows: RowSet): Promise<void> {
  const id = sql.ref(TRACKED[table])
  for (let after = sql``; ; ) {
    const query = sql<Record<string, unknown>>`
      select * from ${sql.table(table)} ${after} order by ${id} limit ${PAGE}`
    const page = (await query.execute(db)).rows
    for (const row of page) rows.load(table, row)
    const last = page.at(-1)?.[TRACKED[table]]
    if (page.length < PAGE) return
    after = sql`where ${id} > ${last}`
  }
}

/** Reads all rows of a database that is opened, and makes the state row of one that is empty. */
export async function openRows(
  database: Database,
  db: Kysely<Schema>,
  keys: RowKeys,
): Promise<RowSet> {
  for (;;) {
    const state = await database.begin('read')
    try {
      const rows = await loadRows(db, keys, state)
      if (state !== undefined) return rows
      await database.rollback()
      await database.begin('write')
      const { epoch, mac } = rows.after()
      const first = { id: STATE_ID, root_check: keys.rootCheck(), epoch, mac }
      // Of two replicas that find the database empty one makes it; the other reads it then.
      const query = db.insertInto('store_state').values(first)
      const insert = query.onConflict(conflict => conflict.doNothing()).compile()
      const statements = [statementFrom(insert)]
      await database.commit({ isBegun: true, statements, state: undefined })
    } finally {
      await database.rollback()
    }
  }
}
