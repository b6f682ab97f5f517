import type { KeyObject } from 'node:crypto'
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
  const { at, ehsm } = call
  const opened = ehsm.keys.kept(ehsm.service.store, keyId) ?? (await readKey(call, keyId))
  const { key } = opened
  if (key.appId !== call.appId) throw refused('appid error', 'KEY_OF_ANOTHER_ACCOUNT')
  if (key.state === 'disabled') throw refused('keyid is disabled', 'KEY_DISABLED')
  if (at.getTime() >= key.expiresAt) throw refused('keyid expire', 'KEY_EXPIRED')
  return opened
}

async function readKey({ ehsm }: Call, keyId: string): Promise<OpenedKey> {
  return await ehsm.service.store.read(async tx => {
    const found = await ehsm.keys.open(tx, keyId)
    if (found !== undefined) return found
    // The caller is told nothing of keys of the native interface; the audit log is.
    throw refused('keyid error', tx.guard.has('keys', keyId) ? 'KEY_MODE' : undefined)
  })
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
