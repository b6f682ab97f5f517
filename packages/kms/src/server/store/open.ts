import { existsSync } from 'node:fs'
import type { Kysely } from 'kysely'
import type { RootKey } from '../root/index.ts'
import type { Database } from './database.ts'
import { kyselyOver } from './dialect.ts'
import { StoreError } from './errors.ts'
import { openRows } from './load-rows.ts'
import { migrateToLatest, needsMigration } from './migrations/index.ts'
import type { PostgresOptions } from './postgres/address.ts'
import type { Presence } from './postgres/connection.ts'
import { PostgresDatabase } from './postgres/postgres-database.ts'
import { RowKeys } from './row-keys.ts'
import type { Schema } from './schema.ts'
import { SqliteDatabase } from './sqlite/sqlite-database.ts'
import { Store } from './store.ts'

/** Where a store is: in a file of SQLite, or in a database of PostgreSQL, which replicas share. */
export type DatabaseOptions =
  | {
      /** The file; `-wal`, `-shm` and `.lock` files stand beside it. */
      readonly path: string
    }
  | { readonly postgres: PostgresOptions }

const connect = async (options: DatabaseOptions, presence: Presence): Promise<Database> =>
  'path' in options
    ? await SqliteDatabase.open(options.path)
    : await PostgresDatabase.open(options.postgres, presence)

const nameOf = (options: DatabaseOptions): string =>
  'path' in options ? options.path : `database ${options.postgres.database}`

/**
 * Opens the database, making it at first start, and checks every row that decisions depend on. That
 * the whole of it was put back to an earlier copy cannot be seen here; whoever keeps a checkpoint of
 * the audit log sees it, and a replica that saw the newer one.
 * @throws StoreError OPEN, LOCKED, WRONG_ROOT_KEY, ROW_MAC, MIGRATION
 */
export async function openStore(
  options: DatabaseOptions & {
    readonly root: RootKey
    /** Whether no other process may have it open meanwhile. */
    readonly alone?: boolean
    /** How many transactions replicas can be told of one by one; 10,000 unless told. */
    readonly feedLength?: number
  },
): Promise<Store> {
  try {
    const database = await connect(options, options.alone === true ? 'alone' : 'shared')
    try {
      const db = kyselyOver(database.dialect, database.run)
      await migrate(database, db)
      const rows = await openRows(database, db, new RowKeys(options.root))
      return new Store(database, db, rows, options.feedLength)
    } catch (error) {
      await database.close()
      throw error
    }
  } catch (cause) {
    const isTold =
      cause instanceof StoreError && cause.code !== 'SQL' && cause.code !== 'CONNECTION'
    if (isTold) throw cause
    const why = cause instanceof StoreError ? `: ${cause.message}` : ''
    throw new StoreError('OPEN', `${nameOf(options)} cannot be opened${why}`, { cause })
  }
}

async function migrate(database: Database, db: Kysely<Schema>): Promise<void> {
  if (!(await needsMigration(db))) return
  try {
    await database.exclusively(() => migrateToLatest(db))
  } catch (error) {
    const isLocked = error instanceof StoreError && error.code === 'LOCKED'
    // By another replica, which has done it, and runs.
    if (isLocked && !(await needsMigration(db))) return
    throw error
  }
}

/**
 * Tells which root key a database belongs to, without any root key: what {@link RowKeys.rootCheck}
 * gives for it. Undefined where the database is not there, or holds nothing yet.
 * @throws StoreError OPEN, LOCKED, SQL, CONNECTION
 */
export async function rootCheckOf(options: DatabaseOptions): Promise<string | undefined> {
  if ('path' in options && !existsSync(options.path)) return undefined
  const database = await connect(options, 'shared')
  try {
    const db = kyselyOver(database.dialect, database.run)
    const tables = await db.introspection.getTables()
    if (!tables.some(({ name }) => name === 'store_state')) return undefined
    const state = await db.selectFrom('store_state').select('root_check').executeTakeFirst()
    return state?.root_check
  } finally {
    await database.close()
  }
}
