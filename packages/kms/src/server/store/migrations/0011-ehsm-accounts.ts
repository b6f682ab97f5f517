import type { Migration } from 'kysely'
import type { AnyDatabase } from './tables.ts'

async function up(db: AnyDatabase): Promise<void> {
  for (const [column, type] of [
    ['state', 'text'],
    ['previous_api_key', 'text'],
    ['previous_ends_at', 'integer'],
  ] as const) {
    await db.schema.alterTable('ehsm_accounts').addColumn(column, type).execute()
  }
}

/** Accounts of the eHSM-compatible interface that are disabled, and API keys that were replaced. */
export const ehsmAccounts: Migration = { up }
