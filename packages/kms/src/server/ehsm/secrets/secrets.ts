import { createHash } from 'node:crypto'
import type { StoreTransaction } from '../../store/index.ts'
import type { Columns, EhsmSecretsTable, EhsmSecretVersionsTable } from '../../store/schema.ts'

/** Most rows that one list gives. */
const LIST_LIMIT = 4000

/** Most secrets that one purge takes away. */
const PURGE_LIMIT = 100

/** A secret without its values. */
export type Secret = Readonly<EhsmSecretsTable>

/** One value of a secret, encrypted. */
export type SecretVersion = Readonly<EhsmSecretVersionsTable>

/** Id of a secret: a row of it can then be missed, which one found by name alone could not. */
export function secretIdOf(appId: string, name: string): string {
  return createHash('sha256')
    .update(JSON.stringify([appId, name]))
    .digest('hex')
}

/** Rows of secrets. Those whose planned deletion has come are as if gone, and go at the next purge. */
export class Secrets {
  /** A secret of an account, planned for deletion or not. @throws StoreError ROW_MAC */
  async find(
    { db, guard }: StoreTransaction,
    appId: string,
    name: string,
    at: Date,
  ): Promise<Secret | undefined> {
    const id = secretIdOf(appId, name)
    const query = db.selectFrom('ehsm_secrets').selectAll().where('secret_id', '=', id)
    const row = guard.proven('ehsm_secrets', id, await query.executeTakeFirst())
    return row === undefined || isGone(row, at) ? undefined : row
  }

  /** An account's secrets, oldest first. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction, appId: string, at: Date): Promise<readonly Secret[]> {
    const own = db.selectFrom('ehsm_secrets').selectAll().where('app_id', '=', appId)
    const rows = await own.orderBy('created_at').orderBy('name').limit(LIST_LIMIT).execute()
    for (const row of rows) guard.proven('ehsm_secrets', row.secret_id, row)
    return rows.filter(row => !isGone(row, at))
  }

  /** Writes a new secret's row, in place of one that is gone. */
  async add(tx: StoreTransaction, columns: Columns<EhsmSecretsTable>): Promise<void> {
    await this.remove(tx, columns.secret_id)
    const row = { ...columns, ...tx.guard.stamp('ehsm_secrets', columns.secret_id, columns) }
    await tx.db.insertInto('ehsm_secrets').values(row).execute()
  }

  /** Changes a secret's row. */
  async change(
    { db, guard }: StoreTransaction,
    secret: Secret,
    change: Partial<Columns<EhsmSecretsTable>>,
  ): Promise<void> {
    const { mac: _mac, row_version: _version, ...before } = secret
    const columns = { ...before, ...change }
    const { secret_id: id } = secret
    const row = { ...columns, ...guard.stamp<EhsmSecretsTable>('ehsm_secrets', id, columns) }
    await db.updateTable('ehsm_secrets').set(row).where('secret_id', '=', id).execute()
  }

  /** Takes a secret away with all its values. */
  async remove({ db, guard }: StoreTransaction, secretId: string): Promise<void> {
    if (!guard.has('ehsm_secrets', secretId)) return
    const versions = db.selectFrom('ehsm_secret_versions').select('id')
    const rows = await versions.where('secret_id', '=', secretId).execute()
    for (const { id } of rows) guard.remove('ehsm_secret_versions', id)
    await db.deleteFrom('ehsm_secret_versions').where('secret_id', '=', secretId).execute()
    guard.remove('ehsm_secrets', secretId)
    await db.deleteFrom('ehsm_secrets').where('secret_id', '=', secretId).execute()
  }

  /** Takes away those whose planned deletion has come. */
  async purge(tx: StoreTransaction, at: Date): Promise<void> {
    const due = tx.db.selectFrom('ehsm_secrets').selectAll().where('delete_at', '<=', at.getTime())
    for (const row of await due.limit(PURGE_LIMIT).execute()) {
      // A date edited with SQL must not make the store forget a secret.
      tx.guard.proven('ehsm_secrets', row.secret_id, row)
      await this.remove(tx, row.secret_id)
    }
  }

  /** Adds a value. */
  async addVersion(
    { db, guard }: StoreTransaction,
    place: { readonly secretId: string; readonly version: number },
    ciphertext: string,
    at: Date,
  ): Promise<void> {
    const id = `${place.secretId}/${place.version}`
    const columns = {
      id,
      secret_id: place.secretId,
      version: place.version,
      ciphertext,
      created_at: at.getTime(),
    }
    const stamp = guard.stamp<EhsmSecretVersionsTable>('ehsm_secret_versions', id, columns)
    await db
      .insertInto('ehsm_secret_versions')
      .values({ ...columns, ...stamp })
      .execute()
  }

  /** One value; undefined where there is none of that number. @throws StoreError ROW_MAC */
  async version(
    { db, guard }: StoreTransaction,
    secretId: string,
    version: number,
  ): Promise<SecretVersion | undefined> {
    const id = `${secretId}/${version}`
    const query = db.selectFrom('ehsm_secret_versions').selectAll().where('id', '=', id)
    return guard.proven('ehsm_secret_versions', id, await query.executeTakeFirst())
  }

  /** A secret's values, the first first. @throws StoreError ROW_MAC */
  async versions(
    { db, guard }: StoreTransaction,
    secretId: string,
  ): Promise<readonly SecretVersion[]> {
    const of = db.selectFrom('ehsm_secret_versions').selectAll().where('secret_id', '=', secretId)
    const rows = await of.orderBy('version').limit(LIST_LIMIT).execute()
    for (const row of rows) guard.proven('ehsm_secret_versions', row.id, row)
    return rows
  }
}

function isGone({ delete_at: deleteAt }: Secret, at: Date): boolean {
  return deleteAt !== null && deleteAt <= at.getTime()
}
