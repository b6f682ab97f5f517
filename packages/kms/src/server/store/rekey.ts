import { type Kysely, sql } from 'kysely'
import type { RootChange } from '../root/index.ts'
import { StoreError } from './errors.ts'
import type { RowGuard } from './row-guard.ts'
import type { RowKeys } from './row-keys.ts'
import { RowSet } from './row-set.ts'
import { type Columns, type Schema, TRACKED, type TrackedTable } from './schema.ts'

const LEAVES_AT_ONCE = 500

/**
 * What another root key means for a row, beside another MAC: the columns that are wrapped anew, or
 * that the row goes.
 */
export type RowRekey<T extends TrackedTable> = (
  row: Schema[T],
  change: RootChange,
  db: Kysely<Schema>,
) => Promise<Partial<Columns<Schema[T]>> | 'dropped'>

/** What another root key means for each table; a table of which nothing is wrapped says so. */
export type Rekeys = { readonly [T in TrackedTable]: 'nothing-wrapped' | RowRekey<T> }

/** What {@link rekeyRows} works with. */
export interface Rekeying {
  readonly db: Kysely<Schema>
  /** Proves the rows as they are. */
  readonly guard: RowGuard
  /** How many tracked rows there are. */
  readonly size: number
  readonly keys: RowKeys
  readonly change: RootChange
  readonly rekeys: Rekeys
}

/**
 * Proves every row under the present root key and stamps it under another.
 * @returns The rows as they then are
 * @throws StoreError ROW_MAC when one is not as it was written, or one is missing
 */
export async function rekeyRows(rekeying: Rekeying): Promise<RowSet> {
  const rows = new RowSet(rekeying.keys)
  let seen = 0
  for (const table of Object.keys(TRACKED) as TrackedTable[]) {
    seen += await rekeyTable(rekeying, table, rows)
  }
  if (seen !== rekeying.size) {
    throw new StoreError('ROW_MAC', `wanted ${rekeying.size} rows, seen ${seen}`)
  }
  await rekeyLeaves(rekeying)
  return rows
}

async function rekeyTable<T extends TrackedTable>(
  { change, db, guard, keys, rekeys }: Rekeying,
  table: T,
  rows: RowSet,
): Promise<number> {
  const idColumn = TRACKED[table]
  const rekey: 'nothing-wrapped' | RowRekey<T> = rekeys[table]
  const found = await sql<Schema[T] & Record<string, string | number>>`
    select * from ${sql.table(table)}`.execute(db)
  for (const row of found.rows) {
    const id = String(row[idColumn])
    guard.proven(table, id, row)
    const changed = rekey === 'nothing-wrapped' ? {} : await rekey(row, change, db)
    const isOf = sql`${sql.ref(idColumn)} = ${row[idColumn]}`
    if (changed === 'dropped') {
      await sql`delete from ${sql.table(table)} where ${isOf}`.execute(db)
      continue
    }
    const { mac: _mac, row_version: version, ...before } = row
    const columns = { ...before, ...changed }
    const mac = Buffer.from(keys.rowMac(table, id, version, columns)).toString('base64url')
    const set = Object.entries({ ...changed, mac }).map(
      ([name, value]) => sql`${sql.ref(name)} = ${value}`,
    )
    await sql`update ${sql.table(table)} set ${sql.join(set)} where ${isOf}`.execute(db)
    rows.load(table, { ...columns, row_version: version, mac })
  }
  return found.rows.length
}

/** Entries of the audit log, of which there may be many. */
async function rekeyLeaves({ db, guard, keys }: Rekeying): Promise<void> {
  for (let after = -1; ; ) {
    const query = db.selectFrom('audit_leaves').selectAll().where('idx', '>', after)
    const leaves = await query.orderBy('idx').limit(LEAVES_AT_ONCE).execute()
    const last = leaves.at(-1)
    if (last === undefined) return
    after = last.idx
    await Promise.all(
      leaves.map(leaf => {
        const { entry, idx } = guard.provenOnce('audit_leaves', String(leaf.idx), leaf)
        const mac = keys.rowMac('audit_leaves', String(idx), 1, { idx, entry })
        return db
          .updateTable('audit_leaves')
          .set({ mac: Buffer.from(mac).toString('base64url') })
          .where('idx', '=', idx)
          .execute()
      }),
    )
  }
}
