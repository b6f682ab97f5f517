import { MAX_TAGS } from '../../protocol/messages/keys.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { Aliases } from './aliases.ts'
import {
  asUsable,
  type KeyDescription,
  keyDescriptionFrom,
  readKey,
  requireState,
} from './description.ts'
import { KeyError } from './errors.ts'
import { removeImport } from './imports.ts'
import { type KeyMaterial, newMaterial } from './material.ts'
import { changeKey, tagsColumn } from './rows.ts'
import { DEFAULT_SPEC } from './spec.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** Most keys that one look for due ones gives. */
const DUE_AT_ONCE = 100

/** Versions, plans and notes of keys. */
export class KeyLife {
  readonly #material: KeyMaterial
  readonly #aliases: Aliases

  constructor(material: KeyMaterial, aliases: Aliases) {
    this.#material = material
    this.#aliases = aliases
  }

  /**
   * Adds a version, which wraps from now on. Where the key is rotated by itself, the time until the
   * next rotation counts from now.
   * @throws KeyError KEY_NOT_FOUND, KEY_DISABLED, KEY_STATE; KEY_USAGE for keys that have one version
   */
  async rotate(tx: StoreTransaction, keyId: string, at: Date): Promise<KeyDescription> {
    const key = asUsable(await readKey(tx, keyId))
    requireRotatable(key)
    const version = key.currentVersion + 1
    const material = await newMaterial(key.spec)
    try {
      await this.#material.store(tx, { ...key, version }, material, at)
    } finally {
      material.fill(0)
    }
    const { rotation } = key
    const next = rotation === null ? null : at.getTime() + rotation.periodDays * DAY_MS
    return await changeKey(tx, keyId, { current_version: version, next_rotation_at: next })
  }

  /** Has a key rotated by itself every so many days. @throws KeyError as {@link KeyLife.rotate} */
  async enableRotation(
    tx: StoreTransaction,
    keyId: string,
    periodDays: number,
    at: Date,
  ): Promise<KeyDescription> {
    const key = await readKey(tx, keyId)
    requireState(key, 'enabled', 'disabled')
    requireRotatable(key)
    const next = at.getTime() + periodDays * DAY_MS
    return await changeKey(tx, keyId, { rotation_days: periodDays, next_rotation_at: next })
  }

  /** Has a key rotated on demand only. @throws KeyError KEY_NOT_FOUND, KEY_STATE */
  async disableRotation(tx: StoreTransaction, keyId: string): Promise<KeyDescription> {
    requireState(await readKey(tx, keyId), 'enabled', 'disabled')
    return await changeKey(tx, keyId, { rotation_days: null, next_rotation_at: null })
  }

  /**
   * Plans a key's deletion. Until then it does nothing, and the deletion can be cancelled.
   * @throws KeyError KEY_NOT_FOUND, KEY_STATE
   */
  async scheduleDeletion(
    tx: StoreTransaction,
    keyId: string,
    waitingPeriodDays: number,
    at: Date,
  ): Promise<KeyDescription> {
    requireState(await readKey(tx, keyId), 'enabled', 'disabled', 'pending-import')
    return await changeKey(tx, keyId, {
      state: 'pending-deletion',
      deletion_at: at.getTime() + waitingPeriodDays * DAY_MS,
    })
  }

  /**
   * Cancels a planned deletion; the key is then disabled, or waits for its material as before.
   * @throws KeyError KEY_NOT_FOUND, KEY_STATE
   */
  async cancelDeletion(tx: StoreTransaction, keyId: string): Promise<KeyDescription> {
    const key = await readKey(tx, keyId)
    requireState(key, 'pending-deletion')
    const state = key.currentVersion === 0 ? 'pending-import' : 'disabled'
    return await changeKey(tx, keyId, { state, deletion_at: null })
  }

  /** Notes on a key what it is for. @throws KeyError KEY_NOT_FOUND, KEY_STATE */
  async describe(tx: StoreTransaction, keyId: string, text: string): Promise<KeyDescription> {
    requireThere(await readKey(tx, keyId))
    return await changeKey(tx, keyId, { description: text === '' ? null : text })
  }

  /** Sets tags, in place of those of the same names. @throws KeyError KEY_NOT_FOUND, KEY_STATE, LIMIT */
  async tag(
    tx: StoreTransaction,
    keyId: string,
    added: Readonly<Record<string, string>>,
  ): Promise<KeyDescription> {
    const key = await readKey(tx, keyId)
    requireThere(key)
    const tags = { ...key.tags, ...added }
    if (Object.keys(tags).length > MAX_TAGS) {
      throw new KeyError('LIMIT', `a key has at most ${MAX_TAGS} tags`)
    }
    return await changeKey(tx, keyId, { tags: tagsColumn(tags) })
  }

  /** Takes tags away; those that are not there are passed over. @throws KeyError KEY_NOT_FOUND, KEY_STATE */
  async untag(
    tx: StoreTransaction,
    keyId: string,
    names: readonly string[],
  ): Promise<KeyDescription> {
    const key = await readKey(tx, keyId)
    requireThere(key)
    const kept = Object.entries(key.tags).filter(([name]) => !names.includes(name))
    return await changeKey(tx, keyId, { tags: tagsColumn(Object.fromEntries(kept)) })
  }

  /** Enabled keys whose time to be rotated has come. @throws StoreError ROW_MAC */
  async dueForRotation(
    { db, guard }: StoreTransaction,
    at: Date,
  ): Promise<readonly KeyDescription[]> {
    const enabled = db.selectFrom('keys').selectAll().where('state', '=', 'enabled')
    const due = enabled.where('next_rotation_at', '<=', at.getTime()).orderBy('next_rotation_at')
    const rows = await due.limit(DUE_AT_ONCE).execute()
    for (const row of rows) guard.proven('keys', row.key_id, row)
    return rows.map(keyDescriptionFrom)
  }

  /** Keys whose waiting period is over. @throws StoreError ROW_MAC */
  async dueForDeletion(
    { db, guard }: StoreTransaction,
    at: Date,
  ): Promise<readonly KeyDescription[]> {
    const planned = db.selectFrom('keys').selectAll().where('state', '=', 'pending-deletion')
    const due = planned.where('deletion_at', '<=', at.getTime()).orderBy('deletion_at')
    const rows = await due.limit(DUE_AT_ONCE).execute()
    // An instant edited with SQL must not make the service delete a key.
    for (const row of rows) guard.proven('keys', row.key_id, row)
    return rows.map(keyDescriptionFrom)
  }

  /**
   * Rotates a key if its time has come and nobody did it meanwhile: of several who ask one does.
   * @returns The key as it then is, or undefined
   */
  async rotateIfDue(
    tx: StoreTransaction,
    keyId: string,
    at: Date,
  ): Promise<KeyDescription | undefined> {
    const { rotation, state } = await readKey(tx, keyId)
    if (state !== 'enabled' || rotation === null || rotation.nextAt > at) return undefined
    return await this.rotate(tx, keyId, at)
  }

  /**
   * Deletes a key if its waiting period is over: material, import and aliases go, and what is left
   * says that there was such a key.
   * @returns The key as it was, or undefined where nothing was to be done
   */
  async deleteIfDue(
    tx: StoreTransaction,
    keyId: string,
    at: Date,
  ): Promise<KeyDescription | undefined> {
    const key = await readKey(tx, keyId)
    const { deletionAt, state } = key
    if (state !== 'pending-deletion' || deletionAt === null || deletionAt > at) return undefined
    await this.#material.remove(tx, key)
    await removeImport(tx, keyId)
    await this.#aliases.removeAll(tx, key)
    await changeKey(tx, keyId, {
      state: 'deleted',
      description: null,
      tags: null,
      rotation_days: null,
      next_rotation_at: null,
    })
    return key
  }
}

/** @throws KeyError KEY_USAGE */
function requireRotatable({ keyId, origin, spec }: KeyDescription): void {
  if (spec === DEFAULT_SPEC && origin === 'internal') return
  const what = spec === DEFAULT_SPEC ? 'whose material was imported' : `of kind ${spec}`
  throw new KeyError(
    'KEY_USAGE',
    `a key ${what} has one version: make another key and move the alias of ${keyId} to it`,
  )
}

/** @throws KeyError KEY_STATE */
function requireThere({ keyId, state }: KeyDescription): void {
  if (state === 'deleted') throw new KeyError('KEY_STATE', `key ${keyId} was deleted`)
}
