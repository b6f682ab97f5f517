import type { StoreTransaction } from '../store/index.ts'
import type { KeysTable } from '../store/schema.ts'
import { KeyError } from './errors.ts'
import { type CmkSpec, type CmkUsage, DEFAULT_SPEC, DEFAULT_USAGE } from './spec.ts'

/**
 * Who may have what is under a key in plaintext: attested instances only, or its owner too. Chosen
 * when the key is made, for good.
 */
export type KeyMode = KeysTable['mode']

/** Where a key is in its life; only an enabled one is used. */
export type KeyState = KeysTable['state']

/** When a key is rotated by itself. */
export interface RotationSchedule {
  readonly periodDays: number
  readonly nextAt: Date
}

/** What may be told about a CMK. */
export interface KeyDescription {
  /** UUID. */
  readonly keyId: string
  /** Account that the key belongs to. */
  readonly owner: string
  readonly mode: KeyMode
  readonly state: KeyState
  readonly spec: CmkSpec
  readonly usage: CmkUsage
  /** Whether its material was made here or brought. */
  readonly origin: 'internal' | 'external'
  /** Version that wraps and signs; counted from 1, 0 before material was imported. */
  readonly currentVersion: number
  readonly createdAt: string
  readonly description: string
  readonly tags: Readonly<Record<string, string>>
  readonly rotation: RotationSchedule | null
  readonly deletionAt: Date | null
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

/** Maps a proven row. */
export function keyDescriptionFrom(row: Omit<KeysTable, 'row_version' | 'mac'>): KeyDescription {
  const { next_rotation_at: next, rotation_days: periodDays } = row
  return {
    keyId: row.key_id,
    owner: row.owner,
    mode: row.mode,
    state: row.state,
    // The row is proven: only this program's own names are in it.
    spec: (row.spec ?? DEFAULT_SPEC) as CmkSpec,
    usage: (row.usage ?? DEFAULT_USAGE) as CmkUsage,
    origin: row.origin ?? 'internal',
    currentVersion: row.current_version,
    createdAt: row.created_at,
    description: row.description ?? '',
    tags: JSON.parse(row.tags ?? '{}'),
    rotation: periodDays === null || next === null ? null : { periodDays, nextAt: new Date(next) },
    deletionAt: row.deletion_at === null ? null : new Date(row.deletion_at),
  }
}

/** Reads and proves one key's row. @throws KeyError KEY_NOT_FOUND; StoreError ROW_MAC */
export async function readKeyRow(tx: StoreTransaction, keyId: string): Promise<KeysTable> {
  const row = await tx.find('keys', keyId)
  if (row === undefined) throw new KeyError('KEY_NOT_FOUND', `there is no key ${keyId}`)
  return row
}

/** Describes a key. @throws KeyError KEY_NOT_FOUND; StoreError ROW_MAC */
export async function readKey(tx: StoreTransaction, keyId: string): Promise<KeyDescription> {
  return keyDescriptionFrom(await readKeyRow(tx, keyId))
}

/** Refuses what a key does not do at this point of its life. @throws KeyError KEY_DISABLED, KEY_STATE */
export function requireState(key: KeyDescription, ...wanted: readonly KeyState[]): void {
  if (wanted.includes(key.state)) return
  const code = key.state === 'disabled' ? 'KEY_DISABLED' : 'KEY_STATE'
  throw new KeyError(code, `key ${key.keyId}: wanted ${wanted.join(' or ')}, seen ${key.state}`)
}

/** Narrows to a key that may be used. @throws KeyError KEY_DISABLED, KEY_STATE */
export function asUsable(key: KeyDescription): UsableKey {
  requireState(key, 'enabled')
  return key as UsableKey
}

/** Narrows to a key that its owner may use outside any enclave. @throws KeyError KEY_MODE */
export function asOpen(key: UsableKey): UsableOpenKey {
  if (key.mode === 'open') return key
  throw new KeyError(
    'KEY_MODE',
    `key ${key.keyId} is attested-only: what is under it goes to attested enclaves and never else`,
  )
}
