import type { KeyObject } from 'node:crypto'
import type { StoreTransaction } from '../../store/index.ts'
import type { Call } from '../actions/action.ts'
import { failed, refused } from '../wire/refusal.ts'
import type { EhsmKey, KeyUsage } from './description.ts'
import type { OpenedKey } from './keys.ts'

/** A key with its material, found to be the caller's and usable. */
export interface UsableKey {
  readonly key: EhsmKey
  readonly material: Uint8Array
  readonly cipherKey: KeyObject | undefined
}

/**
 * Finds a key for a call.
 * @throws EhsmRefusal where it is not there, another account's, disabled or expired; a key of the
 * native interface, attested-only or open, is never found here
 */
export async function findKey(call: Call, keyId: string): Promise<OpenedKey> {
  const { keys, service } = call.ehsm
  const kept = keys.kept(service.store, keyId)
  if (kept === undefined) return await service.store.read(tx => findKeyIn(tx, call, keyId))
  requireUsable(call, kept.key)
  return kept
}

/**
 * As {@link findKey}, in a transaction: what is written for a key is written by what it is then, not by
 * what it was when the call came in.
 */
export async function findKeyIn(
  tx: StoreTransaction,
  call: Call,
  keyId: string,
): Promise<OpenedKey> {
  const found = await call.ehsm.keys.open(tx, keyId)
  if (found === undefined) {
    // The caller is told nothing of keys of the native interface; the audit log is.
    throw refused('keyid error', tx.guard.has('keys', keyId) ? 'KEY_MODE' : undefined)
  }
  requireUsable(call, found.key)
  return found
}

function requireUsable({ appId, at }: Call, key: EhsmKey): void {
  if (key.appId !== appId) throw refused('appid error', 'KEY_OF_ANOTHER_ACCOUNT')
  if (key.state === 'disabled') throw refused('keyid is disabled', 'KEY_DISABLED')
  if (at.getTime() >= key.expiresAt) throw refused('keyid expire', 'KEY_EXPIRED')
}

/**
 * Finds a key for a use.
 * @throws EhsmRefusal also where it is for another use, or has no material yet
 */
export async function usableKey(call: Call, keyId: string, usage: KeyUsage): Promise<UsableKey> {
  const { cipherKey, key, material } = await findKey(call, keyId)
  if (material === undefined || key.usage !== usage) throw failed()
  return { key, material, cipherKey }
}
