import { createSecretKey, type KeyObject, randomUUID } from 'node:crypto'
import { isSymmetric, type KeySpec } from '../../crypto/index.ts'
import { KeyWrap, type RootKey } from '../../root/index.ts'
import { type RowRekey, type Store, StoreError, type StoreTransaction } from '../../store/index.ts'
import type { Columns, EhsmKeysTable } from '../../store/schema.ts'
import { type EhsmKey, ehsmKeyFrom, type KeyOrigin, type KeyUsage } from './description.ts'

/** How long a key may be used. */
export const KEY_LIFE_MS = 365 * 24 * 60 * 60 * 1000

/** Most keys that one list gives. */
const LIST_LIMIT = 10_000

/** Material is bound to all that its use depends on, and never goes from key to key. */
const context = (key: Pick<EhsmKeysTable, 'key_id' | 'app_id' | 'spec' | 'usage'>) =>
  Buffer.from(JSON.stringify(['ehsm key', key.key_id, key.app_id, key.spec, key.usage]))

/** A key under another root key. */
export const rekeyEhsmKey: RowRekey<'ehsm_keys'> = async (row, change) =>
  row.wrapped === null ? {} : { wrapped: change.rewrap('ehsm-wrap', row.wrapped, context(row)) }

/** A key to be made. */
export interface NewKey {
  readonly appId: string
  readonly spec: KeySpec
  readonly origin: KeyOrigin
  readonly usage: KeyUsage
  readonly isDefault: boolean
  /** Undefined for a key whose material is to be imported. */
  readonly material: Uint8Array | undefined
  readonly at: Date
}

/** A key with its material, undefined until it is imported. */
export interface OpenedKey {
  readonly key: EhsmKey
  readonly material: Uint8Array | undefined
  /** The material of a symmetric key, as ciphers take it soonest. */
  readonly cipherKey: KeyObject | undefined
}

/** Keys of the eHSM-compatible interface, in a table of their own: no other key is ever found here. */
export class EhsmKeys {
  readonly #wrap: KeyWrap
  /** Keys of rows that stand. */
  readonly #opened = new WeakMap<EhsmKeysTable, OpenedKey>()

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'ehsm-wrap')
  }

  /** Makes an enabled key that lasts 365 days. */
  async create({ db, guard }: StoreTransaction, key: NewKey): Promise<EhsmKey> {
    const place = { key_id: randomUUID(), app_id: key.appId, spec: key.spec, usage: key.usage }
    const columns: Columns<EhsmKeysTable> = {
      ...place,
      origin: key.origin,
      state: 'enabled',
      is_default: key.isDefault ? 1 : 0,
      created_at: key.at.getTime(),
      expires_at: key.at.getTime() + KEY_LIFE_MS,
      wrapped: key.material === undefined ? null : this.#wrapped(key.material, place),
    }
    const row = { ...columns, ...guard.stamp('ehsm_keys', place.key_id, columns) }
    await db.insertInto('ehsm_keys').values(row).execute()
    return ehsmKeyFrom(row)
  }

  /** A key with its material where it is at hand. */
  kept(store: Store, keyId: string): OpenedKey | undefined {
    const row = store.kept('ehsm_keys', keyId)
    return row === undefined ? undefined : this.#opened.get(row)
  }

  /** A key with its material; undefined where there is none. @throws StoreError ROW_MAC */
  async open(tx: StoreTransaction, keyId: string): Promise<OpenedKey | undefined> {
    const row = await tx.find('ehsm_keys', keyId)
    if (row === undefined) return undefined
    const known = this.#opened.get(row)
    if (known !== undefined) return known
    const [key, material] = [ehsmKeyFrom(row), this.#unwrapped(row)]
    const isCipherKey = material !== undefined && isSymmetric(key.spec)
    const cipherKey = isCipherKey ? createSecretKey(material) : undefined
    const opened = { key, material, cipherKey }
    this.#opened.set(row, opened)
    return opened
  }

  /** The key that an account's secrets are under unless told. */
  async defaultOf({ db, guard }: StoreTransaction, appId: string): Promise<EhsmKey | undefined> {
    const own = db.selectFrom('ehsm_keys').selectAll().where('app_id', '=', appId)
    const row = await own.where('is_default', '=', 1).executeTakeFirst()
    if (row === undefined) return undefined
    guard.proven('ehsm_keys', row.key_id, row)
    return ehsmKeyFrom(row)
  }

  /** An account's keys but its default one, oldest first. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction, appId: string): Promise<readonly EhsmKey[]> {
    const own = db.selectFrom('ehsm_keys').selectAll().where('app_id', '=', appId)
    const query = own.where('is_default', '=', 0).orderBy('created_at').orderBy('key_id')
    const rows = await query.limit(LIST_LIMIT).execute()
    for (const row of rows) guard.proven('ehsm_keys', row.key_id, row)
    return rows.map(ehsmKeyFrom)
  }

  /** Takes away keys of an account, and what they were to be imported under. */
  async remove({ db, guard }: StoreTransaction, keys: readonly EhsmKey[]): Promise<void> {
    for (const { keyId } of keys) {
      guard.remove('ehsm_keys', keyId)
      await db.deleteFrom('ehsm_keys').where('key_id', '=', keyId).execute()
      if (!guard.has('ehsm_imports', keyId)) continue
      guard.remove('ehsm_imports', keyId)
      await db.deleteFrom('ehsm_imports').where('key_id', '=', keyId).execute()
    }
  }

  /** Enables or disables a key. */
  async setState(tx: StoreTransaction, { keyId }: EhsmKey, state: EhsmKey['state']): Promise<void> {
    await this.#change(tx, keyId, () => ({ state }))
  }

  /** Gives a key the material that was imported for it. */
  async setMaterial(tx: StoreTransaction, { keyId }: EhsmKey, material: Uint8Array): Promise<void> {
    await this.#change(tx, keyId, row => ({ wrapped: this.#wrapped(material, row) }))
  }

  async #change(
    tx: StoreTransaction,
    keyId: string,
    changeOf: (row: EhsmKeysTable) => Partial<Columns<EhsmKeysTable>>,
  ): Promise<void> {
    const row = await tx.find('ehsm_keys', keyId)
    if (row === undefined) return
    const { mac: _mac, row_version: _version, ...before } = row
    const columns = { ...before, ...changeOf(row) }
    const stamped = { ...columns, ...tx.guard.stamp<EhsmKeysTable>('ehsm_keys', keyId, columns) }
    await tx.db.updateTable('ehsm_keys').set(stamped).where('key_id', '=', keyId).execute()
  }

  #wrapped(material: Uint8Array, place: Parameters<typeof context>[0]): string {
    return Buffer.from(this.#wrap.wrap(material, context(place))).toString('base64url')
  }

  #unwrapped(row: EhsmKeysTable): Uint8Array | undefined {
    if (row.wrapped === null) return undefined
    const material = this.#wrap.unwrap(Buffer.from(row.wrapped, 'base64url'), context(row))
    if (material !== undefined) return material
    throw new StoreError('ROW_MAC', `material of key ${row.key_id} does not unwrap`)
  }
}
