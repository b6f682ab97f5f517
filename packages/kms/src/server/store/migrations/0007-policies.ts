import type { Migration } from 'kysely'
import { type AnyDatabase, primary, required, stamped } from './tables.ts'

async function up(db: AnyDatabase): Promise<void> {
  await stamped(db, 'policy_sets')
    .addColumn('key_id', 'text', primary)
    .addColumn('policy_ids', 'text', required)
    .execute()
  await stamped(db, 'withdrawals')
    .addColumn('withdrawal_id', 'text', primary)
    .addColumn('by', 'text', required)
    .addColumn('kind', 'text', required)
    .addColumn('value', 'text', required)
    .addColumn('reason', 'text', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await db.schema.createIndex('withdrawals_by').on('withdrawals').column('by').execute()
  await stamped(db, 'release_counts')
    .addColumn('id', 'text', primary)
    .addColumn('releases', 'integer', required)
    .execute()
}

/** Which policies keys have, measurements and signers that were withdrawn, and counts of releases. */
export const policies: Migration = { up }
