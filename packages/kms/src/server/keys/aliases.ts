import type { StoreTransaction } from '../store/index.ts'
import type { Columns, KeyAliasesTable } from '../store/schema.ts'
import { type KeyDescription, readKey } from './description.ts'
import { KeyError } from './errors.ts'
import { type Page, type PageRequest, pageFrom, placeOf } from './page.ts'
import { changeKey } from './rows.ts'

/** Most aliases of one key. */
const MAX_ALIASES = 50

/** Aliases never look like what policies and jobs name keys by. */
const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** A name that an account has for a key of its own. */
export interface KeyAlias {
  readonly alias: string
  readonly keyId: string
  readonly createdAt: string
}

const idOf = (owner: string, alias: string): string => `${owner}/${alias}`

const aliasFrom = (row: Columns<KeyAliasesTable>): KeyAlias => ({
  alias: row.alias,
  keyId: row.key_id,
  createdAt: row.created_at,
})

/**
 * Names that accounts have for their keys, each once an account. They are for people and for calls;
 * what decides, a policy or a job, names key ids, so that moving an alias moves no decision.
 */
export class Aliases {
  /**
   * Names a key of the account's.
   * @throws KeyError ALIAS, ALIAS_TAKEN, KEY_NOT_FOUND, KEY_STATE, LIMIT
   */
  async create(
    tx: StoreTransaction,
    { alias, at, key }: { readonly alias: string; readonly key: KeyDescription; readonly at: Date },
  ): Promise<KeyAlias> {
    if (KEY_ID.test(alias)) throw new KeyError('ALIAS', 'an alias must not look like a key id')
    requireNotLeaving(key)
    const id = idOf(key.owner, alias)
    if (tx.guard.has('key_aliases', id)) {
      throw new KeyError('ALIAS_TAKEN', `the account has a key of the alias ${alias} already`)
    }
    if ((await this.of(tx, key.keyId)).length >= MAX_ALIASES) {
      throw new KeyError('LIMIT', `a key has at most ${MAX_ALIASES} aliases`)
    }
    const columns = {
      id,
      owner: key.owner,
      alias,
      key_id: key.keyId,
      created_at: at.toISOString(),
    }
    const row = { ...columns, ...tx.guard.stamp<KeyAliasesTable>('key_aliases', id, columns) }
    tx.insert('key_aliases', row)
    return aliasFrom(row)
  }

  /** Has an alias name another key of the account's. @throws KeyError ALIAS_NOT_FOUND, KEY_STATE */
  async move(tx: StoreTransaction, alias: string, key: KeyDescription): Promise<KeyAlias> {
    requireNotLeaving(key)
    const { mac: _mac, row_version: _version, ...before } = await this.#row(tx, key.owner, alias)
    const columns = { ...before, key_id: key.keyId }
    const { id } = columns
    const row = { ...columns, ...tx.guard.stamp<KeyAliasesTable>('key_aliases', id, columns) }
    tx.put('key_aliases', row)
    return aliasFrom(row)
  }

  /** Takes an alias away, and gives the id of the key it named. @throws KeyError ALIAS_NOT_FOUND */
  async remove(tx: StoreTransaction, owner: string, alias: string): Promise<string> {
    const { id, key_id: keyId } = await this.#row(tx, owner, alias)
    tx.guard.remove('key_aliases', id)
    await tx.db.deleteFrom('key_aliases').where('id', '=', id).execute()
    return keyId
  }

  /** The id of the key that an account calls so. @throws KeyError ALIAS_NOT_FOUND */
  async keyIdOf(tx: StoreTransaction, owner: string, alias: string): Promise<string> {
    return (await this.#row(tx, owner, alias)).key_id
  }

  /** A key's aliases, in the order of their names. @throws StoreError ROW_MAC */
  async of({ db, guard }: StoreTransaction, keyId: string): Promise<readonly string[]> {
    const query = db.selectFrom('key_aliases').selectAll().where('key_id', '=', keyId)
    const rows = await query.orderBy('alias').execute()
    for (const row of rows) guard.proven('key_aliases', row.id, row)
    return rows.map(row => row.alias)
  }

  /** The aliases of each of an account's keys. @throws StoreError ROW_MAC */
  async byKey(
    { db, guard }: StoreTransaction,
    owner: string,
  ): Promise<ReadonlyMap<string, readonly string[]>> {
    const own = db.selectFrom('key_aliases').selectAll().where('owner', '=', owner)
    const found = new Map<string, string[]>()
    for (const row of await own.orderBy('alias').execute()) {
      guard.proven('key_aliases', row.id, row)
      found.set(row.key_id, [...(found.get(row.key_id) ?? []), row.alias])
    }
    return found
  }

  /** An account's aliases, in the order of their names. @throws StoreError ROW_MAC */
  async list(
    { db, guard }: StoreTransaction,
    owner: string,
    { after, limit }: PageRequest,
  ): Promise<Page<KeyAlias>> {
    const own = db.selectFrom('key_aliases').selectAll().where('owner', '=', owner)
    const query = after === undefined ? own : own.where('alias', '>', placeOf(after)[0])
    const rows = await query
      .orderBy('alias')
      .limit(limit + 1)
      .execute()
    for (const row of rows) guard.proven('key_aliases', row.id, row)
    return pageFrom(rows.map(aliasFrom), limit, entry => [entry.alias, entry.keyId])
  }

  /** Takes all aliases of a key away. */
  async removeAll(tx: StoreTransaction, { keyId, owner }: KeyDescription): Promise<void> {
    for (const alias of await this.of(tx, keyId)) await this.remove(tx, owner, alias)
  }

  /**
   * Moves aliases here that stand in the rows of keys, as they did before there was this table. Then
   * several keys could have one alias: the oldest keeps it.
   */
  async adopt(tx: StoreTransaction, at: Date): Promise<void> {
    const query = tx.db.selectFrom('keys').selectAll().where('alias', 'is not', null)
    const rows = await query.orderBy('created_at').orderBy('key_id').execute()
    for (const { alias, key_id: keyId } of rows) {
      const key = await readKey(tx, keyId)
      const isFree = alias !== null && !tx.guard.has('key_aliases', idOf(key.owner, alias))
      if (isFree && !KEY_ID.test(alias)) await this.create(tx, { alias, key, at })
      await changeKey(tx, keyId, { alias: null })
    }
  }

  async #row(tx: StoreTransaction, owner: string, alias: string): Promise<KeyAliasesTable> {
    const row = await tx.find('key_aliases', idOf(owner, alias))
    if (row !== undefined) return row
    throw new KeyError('ALIAS_NOT_FOUND', `the account has no alias ${alias}`)
  }
}

/** A key on its way out gets no names. @throws KeyError KEY_STATE */
function requireNotLeaving({ keyId, state }: KeyDescription): void {
  if (state !== 'pending-deletion' && state !== 'deleted') return
  throw new KeyError('KEY_STATE', `key ${keyId} is ${state}`)
}
