import { type Kysely, DEFAULT_MIGRATION_TABLE as MADE, type Migration, Migrator, sql } from 'kysely'
import { StoreError } from '../errors.ts'
import type { Schema } from '../schema.ts'
import { initial } from './0001-initial.ts'
import { ehsm } from './0003-ehsm.ts'
import { keyLife } from './0004-key-life.ts'
import { accounts } from './0006-accounts.ts'
import { policies } from './0007-policies.ts'
import { replicas } from './0010-replicas.ts'
import { ehsmAccounts } from './0011-ehsm-accounts.ts'
import { unusedApiKeys } from './0012-unused-api-keys.ts'

/** Numbered; only ever appended to. */
const MIGRATIONS: Record<string, Migration> = {
  '0001-initial': initial,
  '0003-ehsm': ehsm,
  '0004-key-life': keyLife,
  '0006-accounts': accounts,
  '0007-policies': policies,
  '0010-replicas': replicas,
  '0011-ehsm-accounts': ehsmAccounts,
  '0012-unused-api-keys': unusedApiKeys,
}

const migratorOf = (db: Kysely<Schema>) =>
  new Migrator({ db, provider: { getMigrations: async () => MIGRATIONS } })

/**
 * Whether the database is of an older schema, or of none.
 * @throws StoreError MIGRATION where it is newer than this program; SQL, CONNECTION
 */
export async function needsMigration(db: Kysely<Schema>): Promise<boolean> {
  const migrations = await migratorOf(db).getMigrations()
  const isOlder = migrations.some(({ executedAt }) => executedAt === undefined)
  // All that this program knows were made there: of others only their table tells.
  if (!isOlder) await requireKnown(db)
  return isOlder
}

async function requireKnown(db: Kysely<Schema>): Promise<void> {
  const made = await sql<{ name: string }>`select name from ${sql.table(MADE)}`.execute(db)
  const newer = made.rows.map(({ name }) => name).filter(name => !(name in MIGRATIONS))
  if (newer.length === 0) return
  const seen = newer.join(', ')
  throw new StoreError('MIGRATION', `the database is of a newer version, which made ${seen}`)
}

/**
 * Brings the database to the newest schema.
 * @throws StoreError MIGRATION, also where the database is newer than this program
 */
export async function migrateToLatest(db: Kysely<Schema>): Promise<void> {
  const { error } = await migratorOf(db).migrateToLatest()
  if (error === undefined) return
  const why = error instanceof Error ? error.message : String(error)
  throw new StoreError('MIGRATION', `the database's schema is not usable: ${why}`, { cause: error })
}
