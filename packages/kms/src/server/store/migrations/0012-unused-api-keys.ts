import type { Migration } from 'kysely'
import type { AnyDatabase } from './tables.ts'

async function up(db: AnyDatabase): Promise<void> {
  await db.schema.alterTable('ehsm_accounts').addColumn('is_unused', 'integer').execute()
}

/** Whether an API key that replaced another has signed anything yet. */
export const unusedApiKeys: Migration = { up }
