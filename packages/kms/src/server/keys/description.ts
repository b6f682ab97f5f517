import type { StoreTransaction } from '../store/index.ts'
import { KeyError } from './errors.ts'

/**
 * Who may have DEKs under a key in plaintext: attested instances only, or its owner too. Chosen when
 * the key is made, for good.
 */
export type KeyMode = 'attested-only' | 'open'

/** Whether a key may be used. */
export type KeyState = 'enabled' | 'disabled'

/** What may be told about a CMK. */
export interface KeyDescription {
  /** UUID. */
  readonly keyId: string
  /** Account that the key belongs to. */
  readonly owner: string
  readonly alias: string | null
  readonly mode: KeyMode
  readonly state: KeyState
  /** Version that wraps; counted from 1. Versions before it still unwrap. */
  readonly currentVersion: number
  readonly createdAt: string
}

declare const brand: unique symbol

/** A key found enabled in the transaction at hand. Only {@link Keys.usable} makes one. */
export type UsableKey = UsableOpenKey | UsableAttestedOnlyKey

/** A usable key whose DEKs its owner may have. */
export type UsableOpenKey = KeyDescription & {
  readonly mode: 'open'
  readonly state: 'enabled'
  readonly [brand]: 'UsableKey'
}

/** A usable key whose DEKs go to attested instances only. */
type UsableAttestedOnlyKey = KeyDescription & {
  readonly mode: 'attested-only'
  readonly state: 'enabled'
  readonly [brand]: 'UsableKey'
}

/** A row as it is read from the store. */
interface KeyRow {
  readonly key_id: string
  readonly owner: string
  readonly alias: string | null
  readonly mode: KeyMode
  readonly state: KeyState
  readonly current_version: number
  readonly created_at: string
}

/** Maps a proven row. */
export function keyDescriptionFrom(row: KeyRow): KeyDescription {
  return {
    keyId: row.key_id,
    owner: row.owner,
    alias: row.alias,
    mode: row.mode,
    state: row.state,
    currentVersion: row.current_version,
    createdAt: row.created_at,
  }
}

/** Reads and proves one key's row. @throws KeyError KEY_NOT_FOUND; StoreError ROW_MAC */
export async function readKey(tx: StoreTransaction, keyId: string): Promise<KeyDescription> {
  const row = await tx.find('keys', keyId)
  if (row === undefined) throw new KeyError('KEY_NOT_FOUND', `there is no key ${keyId}`)
  return keyDescriptionFrom(row)
}

/** Narrows to a key that may be used. @throws KeyError KEY_DISABLED */
export function asUsable(key: KeyDescription): UsableKey {
  if (key.state !== 'enabled') {
    throw new KeyError('KEY_DISABLED', `key ${key.keyId}: wanted enabled, seen ${key.state}`)
  }
  return key as UsableKey
}
