import type { EhsmKey } from '../../keys/description.ts'
import { findKey, type UsableKey, usableKey } from '../../keys/usable.ts'
import { EhsmRefusal, refused } from '../../wire/refusal.ts'
import type { Call } from '../action.ts'
import { decrypted, encrypted } from '../symmetric.ts'

/** A value is bound to its secret and version: none passes for another. */
const context = (secretId: string, version: number): Uint8Array =>
  Buffer.from(JSON.stringify(['secret', secretId, version]))

/** Where a value belongs. */
export interface ValuePlace {
  readonly secretId: string
  readonly version: number
}

/** Encrypts a value. */
export function sealValue(key: UsableKey, { secretId, version }: ValuePlace, data: string): string {
  const bytes = Buffer.from(data, 'utf8')
  const ciphertext = encrypted(key, bytes, context(secretId, version))
  bytes.fill(0)
  return Buffer.from(ciphertext).toString('base64')
}

/** Decrypts a value. @throws EhsmRefusal */
export function openValue(key: UsableKey, place: ValuePlace, ciphertext: string): string {
  const aad = context(place.secretId, place.version)
  const bytes = decrypted(key, Buffer.from(ciphertext, 'base64'), aad)
  const data = Buffer.from(bytes).toString('utf8')
  bytes.fill(0)
  return data
}

/**
 * The key that a new secret is to be under: the one named, or the account's default.
 * @throws EhsmRefusal unless it is a symmetric key of the account's that may be used
 */
export async function secretKey(call: Call, keyId: string | undefined): Promise<UsableKey> {
  if (keyId === undefined) return await usableKey(call, (await defaultKey(call)).keyId, USE)
  try {
    const { cipherKey, key, material } = await findKey(call, keyId)
    const fits = key.usage === USE && /^(AES|SM4)_/.test(key.spec)
    if (fits && material !== undefined) return { key, material, cipherKey }
  } catch (error) {
    if (!(error instanceof EhsmRefusal)) throw error
    throw refused(CANNOT_FIND, error.denial)
  }
  throw refused(CANNOT_FIND)
}

const USE = 'encrypt-decrypt'
const CANNOT_FIND = 'Cannot find cmk by keyid.'

async function defaultKey({ appId, ehsm }: Call): Promise<EhsmKey> {
  const key = await ehsm.service.store.read(tx => ehsm.keys.defaultOf(tx, appId))
  if (key === undefined) throw refused('Cannot find default CMK.')
  return key
}
