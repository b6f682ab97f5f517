import { randomBytes } from 'node:crypto'
import type { StoreTransaction } from '../store/index.ts'
import type { TenantsTable } from '../store/schema.ts'
import { AccountError } from './errors.ts'

declare const brand: unique symbol

/** Id of a tenant: 32 lower-case hexadecimal digits. */
export type TenantId = string & { readonly [brand]: 'TenantId' }

/** The tenant that enrolment opens accounts in; there from the first start. */
export const DEFAULT_TENANT = '0'.repeat(32) as TenantId

/** A tenant: one party of those that share a key service. */
export interface Tenant {
  readonly tenantId: TenantId
  readonly name: string
  /** The accounts of a disabled tenant are refused. */
  readonly state: 'enabled' | 'disabled'
  readonly createdAt: string
}

/** The tenants of an installation; the operator's to make, not to look into. */
export class Tenants {
  /** Makes a tenant. */
  async create(tx: StoreTransaction, name: string, at: Date): Promise<Tenant> {
    return await this.#insert(tx, randomBytes(16).toString('hex'), name, at)
  }

  /** Makes the default tenant where it is not there yet. */
  async ensureDefault(tx: StoreTransaction, at: Date): Promise<void> {
    if ((await this.find(tx, DEFAULT_TENANT)) !== undefined) return
    await this.#insert(tx, DEFAULT_TENANT, 'default', at)
  }

  /** All tenants, oldest first. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction): Promise<readonly Tenant[]> {
    const query = db.selectFrom('tenants').selectAll()
    const rows = await query.orderBy('created_at').orderBy('tenant_id').execute()
    for (const row of rows) guard.proven('tenants', row.tenant_id, row)
    return rows.map(tenantFrom)
  }

  /** A tenant; undefined where there is none of that id. @throws StoreError ROW_MAC */
  async find(tx: StoreTransaction, tenantId: string): Promise<Tenant | undefined> {
    const row = await tx.find('tenants', tenantId)
    return row === undefined ? undefined : tenantFrom(row)
  }

  /** A tenant. @throws AccountError NOT_FOUND */
  async get(tx: StoreTransaction, tenantId: string): Promise<Tenant> {
    const found = await this.find(tx, tenantId)
    if (found === undefined) throw new AccountError('NOT_FOUND', `there is no tenant ${tenantId}`)
    return found
  }

  /** Refuses the accounts of a tenant, or takes them again. @throws AccountError NOT_FOUND */
  async setState(tx: StoreTransaction, tenantId: string, state: Tenant['state']): Promise<Tenant> {
    const { createdAt, name } = await this.get(tx, tenantId)
    const columns = { tenant_id: tenantId, name, state, created_at: createdAt }
    const row = { ...columns, ...tx.guard.stamp<TenantsTable>('tenants', tenantId, columns) }
    tx.put('tenants', row)
    return tenantFrom(row)
  }

  async #insert(
    { db, guard }: StoreTransaction,
    tenantId: string,
    name: string,
    at: Date,
  ): Promise<Tenant> {
    const created_at = at.toISOString()
    const columns = { tenant_id: tenantId, name, state: 'enabled', created_at } as const
    const row = { ...columns, ...guard.stamp<TenantsTable>('tenants', tenantId, columns) }
    await db.insertInto('tenants').values(row).execute()
    return tenantFrom(row)
  }
}

function tenantFrom(row: TenantsTable): Tenant {
  const { created_at: createdAt, name, state } = row
  return { tenantId: row.tenant_id as TenantId, name, state, createdAt }
}
