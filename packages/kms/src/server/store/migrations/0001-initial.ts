import { type ColumnDefinitionBuilder, type Kysely, type Migration, sql } from 'kysely'

const required = (column: ColumnDefinitionBuilder) => column.notNull()
const primary = (column: ColumnDefinitionBuilder) => column.primaryKey().notNull()

// biome-ignore lint/suspicious/noExplicitAny: Kysely's Migration type is over an unknown schema
type AnyDatabase = Kysely<any>

function table(db: AnyDatabase, name: string) {
  return db.schema.createTable(name).modifyEnd(sql`strict`)
}

function stamped(db: AnyDatabase, name: string) {
  return table(db, name)
    .addColumn('row_version', 'integer', required)
    .addColumn('mac', 'text', required)
}

async function up(db: AnyDatabase): Promise<void> {
  await table(db, 'store_state')
    .addColumn('id', 'integer', primary)
    .addColumn('root_check', 'text', required)
    .addColumn('epoch', 'integer', required)
    .addColumn('mac', 'text', required)
    .execute()
  await stamped(db, 'keys')
    .addColumn('key_id', 'text', primary)
    .addColumn('owner', 'text', required)
    .addColumn('alias', 'text')
    .addColumn('mode', 'text', required)
    .addColumn('state', 'text', required)
    .addColumn('current_version', 'integer', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await db.schema.createIndex('keys_by_owner').on('keys').column('owner').execute()
  await stamped(db, 'key_versions')
    .addColumn('id', 'text', primary)
    .addColumn('key_id', 'text', column => column.notNull().references('keys.key_id'))
    .addColumn('version', 'integer', required)
    .addColumn('wrapped', 'text', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await stamped(db, 'accounts')
    .addColumn('account_id', 'text', primary)
    .addColumn('credential_hash', 'text', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await stamped(db, 'policies')
    .addColumn('policy_id', 'text', primary)
    .addColumn('owner', 'text', required)
    .addColumn('key_id', 'text', column => column.notNull().references('keys.key_id'))
    .addColumn('template', 'text', required)
    .addColumn('cedar', 'text', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await db.schema.createIndex('policies_by_key').on('policies').column('key_id').execute()
  await stamped(db, 'heads')
    .addColumn('dataset_id', 'text', primary)
    .addColumn('owner', 'text', required)
    .addColumn('version', 'integer', required)
    .addColumn('manifest_digest', 'text', required)
    .addColumn('writer_key', 'text', required)
    .execute()
  await stamped(db, 'consumed')
    .addColumn('id', 'text', primary)
    .addColumn('expires_at', 'integer', required)
    .execute()
  await db.schema.createIndex('consumed_by_expiry').on('consumed').column('expires_at').execute()
  await stamped(db, 'secrets')
    .addColumn('name', 'text', primary)
    .addColumn('wrapped', 'text', required)
    .execute()
  await stamped(db, 'audit_log')
    .addColumn('id', 'integer', primary)
    .addColumn('size', 'integer', required)
    .addColumn('frontier', 'text', required)
    .execute()
  await stamped(db, 'audit_leaves')
    .addColumn('idx', 'integer', primary)
    .addColumn('entry', 'text', required)
    .execute()
  await table(db, 'audit_nodes')
    .addColumn('node', 'text', primary)
    .addColumn('hash', 'text', required)
    .execute()
}

/** The first schema. */
export const initial: Migration = { up }
