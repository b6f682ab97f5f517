import type { Migration } from 'kysely'
import { type AnyDatabase, primary, required, stamped } from './tables.ts'

const TEXTS = ['spec', 'usage', 'origin', 'description', 'tags'] as const
const NUMBERS = ['deletion_at', 'rotation_days', 'next_rotation_at'] as const

async function up(db: AnyDatabase): Promise<void> {
  for (const name of TEXTS) await db.schema.alterTable('keys').addColumn(name, 'text').execute()
  for (const name of NUMBERS) {
    await db.schema.alterTable('keys').addColumn(name, 'integer').execute()
  }
  await db.schema.createIndex('keys_by_deletion').on('keys').column('deletion_at').execute()
  await db.schema.createIndex('keys_by_rotation').on('keys').column('next_rotation_at').execute()
  await stamped(db, 'key_aliases')
    .addColumn('id', 'text', primary)
    .addColumn('owner', 'text', required)
    .addColumn('alias', 'text', required)
    .addColumn('key_id', 'text', column => column.notNull().references('keys.key_id'))
    .addColumn('created_at', 'text', required)
    .execute()
  await db.schema.createIndex('key_aliases_by_owner').on('key_aliases').column('owner').execute()
  await db.schema.createIndex('key_aliases_by_key').on('key_aliases').column('key_id').execute()
  await stamped(db, 'key_imports')
    .addColumn('key_id', 'text', primary)
    .addColumn('algorithm', 'text', required)
    .addColumn('spec', 'text', required)
    .addColumn('public_digest', 'text', required)
    .addColumn('wrapped', 'text', required)
    .addColumn('expires_at', 'integer', required)
    .execute()
}

/** Kinds of key, aliases, tags, imports, and what is planned for a key. */
export const keyLife: Migration = { up }
