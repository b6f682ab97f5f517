import type { KeySpec } from '../../crypto/index.ts'
import type { EhsmKeysTable } from '../../store/schema.ts'

/** Whether the material is made here or imported. */
export type KeyOrigin = EhsmKeysTable['origin']

/** What a key may do. */
export type KeyUsage = EhsmKeysTable['usage']

/** A key of the eHSM-compatible interface. All are open: an API key is all that using them takes. */
export interface EhsmKey {
  readonly keyId: string
  readonly appId: string
  readonly spec: KeySpec
  readonly origin: KeyOrigin
  readonly usage: KeyUsage
  readonly state: EhsmKeysTable['state']
  /** Whether it is the one that an account's secrets are under unless told. */
  readonly isDefault: boolean
  readonly createdAt: number
  readonly expiresAt: number
}

/** Maps a proven row. */
export function ehsmKeyFrom(row: EhsmKeysTable): EhsmKey {
  return {
    keyId: row.key_id,
    appId: row.app_id,
    // The row is proven: only this program's own names are in it.
    spec: row.spec as KeySpec,
    origin: row.origin,
    usage: row.usage,
    state: row.state,
    isDefault: row.is_default === 1,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  }
}
