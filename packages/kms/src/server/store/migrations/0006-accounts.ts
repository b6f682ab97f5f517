import type { Migration } from 'kysely'
import { type AnyDatabase, primary, required, stamped } from './tables.ts'

async function up(db: AnyDatabase): Promise<void> {
  await stamped(db, 'tenants')
    .addColumn('tenant_id', 'text', primary)
    .addColumn('name', 'text', required)
    .addColumn('state', 'text', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await stamped(db, 'tenant_accounts')
    .addColumn('account_id', 'text', primary)
    .addColumn('tenant_id', 'text', column => column.notNull().references('tenants.tenant_id'))
    .addColumn('name', 'text', required)
    .addColumn('kind', 'text', required)
    .addColumn('role', 'text', required)
    .addColumn('state', 'text', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await db.schema
    .createIndex('accounts_by_tenant')
    .on('tenant_accounts')
    .column('tenant_id')
    .execute()
  await stamped(db, 'credentials')
    .addColumn('credential_id', 'text', primary)
    .addColumn('account_id', 'text', column =>
      column.notNull().references('tenant_accounts.account_id'),
    )
    .addColumn('name', 'text', required)
    .addColumn('hash', 'text')
    .addColumn('certificate', 'text')
    .addColumn('scopes', 'text', required)
    .addColumn('key_ids', 'text')
    .addColumn('created_at', 'text', required)
    .addColumn('expires_at', 'text')
    .addColumn('revoked_at', 'text')
    .addColumn('replaced_by', 'text')
    .execute()
  await db.schema
    .createIndex('credentials_by_account')
    .on('credentials')
    .column('account_id')
    .execute()
  await stamped(db, 'credential_uses')
    .addColumn('credential_id', 'text', primary)
    .addColumn('uses', 'integer', required)
    .addColumn('last_used_at', 'text', required)
    .execute()
  await stamped(db, 'key_grants')
    .addColumn('id', 'text', primary)
    .addColumn('key_id', 'text', required)
    .addColumn('account_id', 'text', required)
    .addColumn('actions', 'text', required)
    .addColumn('created_at', 'text', required)
    .execute()
  await db.schema.createIndex('key_grants_by_key').on('key_grants').column('key_id').execute()
}

/** Tenants, their accounts, the accounts' credentials, and the use of keys that owners grant. */
export const accounts: Migration = { up }
