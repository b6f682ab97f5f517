import { type ColumnDefinitionBuilder, type Kysely, SqliteAdapter, sql } from 'kysely'

/** A database of no schema yet. */
// biome-ignore lint/suspicious/noExplicitAny: Kysely's Migration type is over an unknown schema
export type AnyDatabase = Kysely<any>

/** A column that is always there. */
export const required = (column: ColumnDefinitionBuilder) => column.notNull()

/** The column that names a row. */
export const primary = (column: ColumnDefinitionBuilder) => column.primaryKey().notNull()

/** A table that takes the types it was declared with, and no others. */
export function table(db: AnyDatabase, name: string) {
  const table = db.schema.createTable(name)
  // SQLite takes anything unless told; PostgreSQL knows no other way.
  const isSqlite = db.getExecutor().adapter instanceof SqliteAdapter
  return isSqlite ? table.modifyEnd(sql`strict`) : table
}

/** A table whose rows bear a version and a MAC. */
export function stamped(db: AnyDatabase, name: string) {
  return table(db, name)
    .addColumn('row_version', 'integer', required)
    .addColumn('mac', 'text', required)
}
