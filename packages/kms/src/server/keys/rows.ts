import { canonicalJson } from '@cloister/sealed'
import type { StoreTransaction } from '../store/index.ts'
import type { Columns, KeysTable } from '../store/schema.ts'
import { type KeyDescription, keyDescriptionFrom, readKeyRow } from './description.ts'

/** Writes a new key's row. */
export async function insertKey(
  tx: StoreTransaction,
  columns: Columns<KeysTable>,
): Promise<KeyDescription> {
  const row = { ...columns, ...tx.guard.stamp<KeysTable>('keys', columns.key_id, columns) }
  tx.insert('keys', row)
  return keyDescriptionFrom(row)
}

/** Changes columns of a key's row. @throws KeyError KEY_NOT_FOUND; StoreError ROW_MAC */
export async function changeKey(
  tx: StoreTransaction,
  keyId: string,
  change: Partial<Columns<KeysTable>>,
): Promise<KeyDescription> {
  const { mac: _mac, row_version: _version, ...before } = await readKeyRow(tx, keyId)
  const columns = { ...before, ...change }
  const row = { ...columns, ...tx.guard.stamp<KeysTable>('keys', keyId, columns) }
  tx.put('keys', row)
  return keyDescriptionFrom(row)
}

/** Tags as a column has them: null where there are none. */
export function tagsColumn(tags: Readonly<Record<string, string>>): string | null {
  return Object.keys(tags).length === 0 ? null : canonicalJson(tags)
}
