import type { Migration } from 'kysely'
import { type AnyDatabase, primary, required, table } from './tables.ts'

async function up(db: AnyDatabase): Promise<void> {
  await table(db, 'store_changes')
    .addColumn('epoch', 'integer', primary)
    .addColumn('changes', 'text', required)
    .addColumn('mac', 'text', required)
    .execute()
}

/** What replicas tell each other. */
export const replicas: Migration = { up }
