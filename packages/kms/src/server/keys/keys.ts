import { randomUUID } from 'node:crypto'
import {
  type DatasetId,
  DEK_LENGTH,
  Dek,
  encodeSealedHeader,
  encodeWrapContext,
  type FileId,
  parseSealedHeader,
  SealedFormatError,
  type Sha256,
  type Slot,
  verifyHeader,
} from '@cloister/sealed'
import type { RootKey } from '../root/index.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { KeysTable } from '../store/schema.ts'
import {
  asUsable,
  type KeyDescription,
  type KeyMode,
  type KeyState,
  keyDescriptionFrom,
  readKey,
  type UsableKey,
  type UsableOpenKey,
} from './description.ts'
import { KeyError } from './errors.ts'
import type { ReleaseAction, ReleaseGrant } from './grant.ts'
import { KeyMaterial } from './material.ts'

/** The file that a DEK is of; bound into its wrapping. */
export interface DekContext {
  readonly datasetId: DatasetId
  readonly fileId: FileId
  readonly fixedDigest: Sha256
}

/** A DEK under a CMK version: format version byte 1, nonce (12), ciphertext (32), tag (16). */
export interface WrappedDek {
  readonly cmkVersion: number
  readonly wrappedDek: Uint8Array
}

/** Customer master keys, and the DEKs under them. */
export class Keys {
  readonly #material: KeyMaterial

  constructor(root: RootKey) {
    this.#material = new KeyMaterial(root)
  }

  /** Makes an enabled key of one version. Its mode is for good. */
  async create(
    tx: StoreTransaction,
    key: {
      readonly owner: string
      readonly mode: KeyMode
      readonly alias?: string
      readonly at: Date
    },
  ): Promise<KeyDescription> {
    const keyId = randomUUID()
    const row = await this.#write(tx, 'insert', {
      key_id: keyId,
      owner: key.owner,
      alias: key.alias ?? null,
      mode: key.mode,
      state: 'enabled',
      current_version: 1,
      created_at: key.at.toISOString(),
    })
    await this.#material.create(tx, { keyId, version: 1, mode: key.mode }, key.at)
    return row
  }

  /** An account's keys, oldest first. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction, owner: string): Promise<readonly KeyDescription[]> {
    const query = db.selectFrom('keys').selectAll().where('owner', '=', owner)
    const rows = await query.orderBy('created_at').orderBy('key_id').execute()
    for (const row of rows) guard.proven('keys', row.key_id, row)
    return rows.map(keyDescriptionFrom)
  }

  /** Describes a key. @throws KeyError KEY_NOT_FOUND; StoreError ROW_MAC */
  async get(tx: StoreTransaction, keyId: string): Promise<KeyDescription> {
    return await readKey(tx, keyId)
  }

  /** Describes a key that may be used. @throws KeyError KEY_NOT_FOUND, KEY_DISABLED */
  async usable(tx: StoreTransaction, keyId: string): Promise<UsableKey> {
    return asUsable(await readKey(tx, keyId))
  }

  /** Disables a key, which then does nothing, or enables it. @throws KeyError KEY_NOT_FOUND */
  async setState(tx: StoreTransaction, keyId: string, state: KeyState): Promise<KeyDescription> {
    return await this.#change(tx, await readKey(tx, keyId), { state })
  }

  /** Adds a version, which wraps from now on. @throws KeyError KEY_NOT_FOUND, KEY_DISABLED */
  async rotate(tx: StoreTransaction, keyId: string, at: Date): Promise<KeyDescription> {
    const key = await this.usable(tx, keyId)
    const version = key.currentVersion + 1
    await this.#material.create(tx, { keyId, version, mode: key.mode }, at)
    return await this.#change(tx, key, { current_version: version })
  }

  /** Wraps a DEK under the current version. */
  async wrapDek(
    tx: StoreTransaction,
    key: UsableKey,
    dek: Dek,
    context: DekContext,
  ): Promise<WrappedDek> {
    const cmkVersion = key.currentVersion
    const material = await this.#material.open(tx, key, cmkVersion)
    const bytes = dek.exposeBytes()
    try {
      const associated = encodeWrapContext({ ...context, cmkId: key.keyId, cmkVersion })
      return { cmkVersion, wrappedDek: material.wrap(bytes, associated) }
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * Unwraps a DEK for the owner of an open key.
   * @throws KeyError KEY_MODE, KEY_VERSION, UNWRAP
   */
  async unwrapDek(
    tx: StoreTransaction,
    key: UsableOpenKey,
    wrapped: WrappedDek,
    context: DekContext,
  ): Promise<Dek> {
    // The type says so already; a cast must not be all that stands between a caller and a DEK.
    // Read anew, so that a description from elsewhere cannot say it either.
    const stored = asUsable(await readKey(tx, key.keyId))
    if (stored.mode !== 'open') {
      throw new KeyError('KEY_MODE', `key ${key.keyId}: wanted an open key, seen ${stored.mode}`)
    }
    return await this.#unwrap(tx, stored, wrapped, context)
  }

  /**
   * Wraps a sealed file's DEK anew under the key's current version, inside its header: the DEK goes
   * nowhere, so this serves attested-only keys too. The other slots stay, and so does the length. A
   * header that is of the current version already is given back as it is.
   * @param header - The whole header of the file
   * @throws SealedFormatError when `header` is none; KeyError KEY_VERSION, UNWRAP when it has no slot
   * of this key, or when slot or header were altered
   */
  async rewrapHeader(
    tx: StoreTransaction,
    key: UsableKey,
    header: Uint8Array,
    kmsId: string,
  ): Promise<Uint8Array> {
    const parsed = parseSealedHeader(header)
    const { fixed, fixedDigest, headerLength, slots } = parsed
    const isOwn = (slot: Slot) => slot.kmsId === kmsId && slot.cmkId === key.keyId
    const own = slots.find(isOwn)
    if (own === undefined) {
      throw new KeyError('UNWRAP', `the header of file ${fixed.fileId} has no slot of this key`)
    }
    const context = { datasetId: fixed.datasetId, fileId: fixed.fileId, fixedDigest }
    const dek = await this.#unwrap(tx, key, own, context)
    try {
      // Before anything else: an altered slot of another key service would be made authentic.
      verifyHeader(parsed, dek)
      if (own.cmkVersion === key.currentVersion) return header
      const wrapped = await this.wrapDek(tx, key, dek, context)
      const renewed = slots.map(slot => (isOwn(slot) ? { ...slot, ...wrapped } : slot))
      return encodeSealedHeader({ fixed, slots: renewed, dek, headerLength })
    } catch (cause) {
      if (!(cause instanceof SealedFormatError && cause.code === 'HEADER_MAC')) throw cause
      throw new KeyError('UNWRAP', `the header of file ${fixed.fileId} was altered`, { cause })
    } finally {
      dek.dispose()
    }
  }

  /**
   * Unwraps a DEK for an attested instance.
   * @throws KeyError GRANT, KEY_VERSION, UNWRAP
   */
  async releaseDek(
    tx: StoreTransaction,
    key: UsableKey,
    wrapped: WrappedDek,
    context: DekContext,
    grant: ReleaseGrant,
  ): Promise<Dek> {
    assertCovered(grant, 'release', key, context)
    return await this.#unwrap(tx, key, wrapped, context)
  }

  /** Makes a DEK for an attested instance's output. @throws KeyError GRANT */
  async sealDek(
    tx: StoreTransaction,
    key: UsableKey,
    context: DekContext,
    grant: ReleaseGrant,
  ): Promise<WrappedDek & { readonly dek: Dek }> {
    assertCovered(grant, 'seal', key, context)
    const dek = Dek.generate()
    return { dek, ...(await this.wrapDek(tx, key, dek, context)) }
  }

  async #unwrap(
    tx: StoreTransaction,
    key: UsableKey,
    { cmkVersion, wrappedDek }: WrappedDek,
    context: DekContext,
  ): Promise<Dek> {
    const material = await this.#material.open(tx, key, cmkVersion)
    const associated = encodeWrapContext({ ...context, cmkId: key.keyId, cmkVersion })
    const bytes = material.unwrap(wrappedDek, associated)
    if (bytes === undefined || bytes.length !== DEK_LENGTH) {
      bytes?.fill(0)
      const what = `the wrapped DEK is not of file ${context.fileId} under key ${key.keyId}`
      throw new KeyError('UNWRAP', what)
    }
    const dek = Dek.from(bytes)
    bytes.fill(0)
    return dek
  }

  async #change(
    tx: StoreTransaction,
    key: KeyDescription,
    change: Partial<Pick<KeysTable, 'state' | 'current_version'>>,
  ): Promise<KeyDescription> {
    return await this.#write(tx, 'update', {
      key_id: key.keyId,
      owner: key.owner,
      alias: key.alias,
      mode: key.mode,
      state: key.state,
      current_version: key.currentVersion,
      created_at: key.createdAt,
      ...change,
    })
  }

  async #write(
    { db, guard }: StoreTransaction,
    how: 'insert' | 'update',
    columns: Omit<KeysTable, 'row_version' | 'mac'>,
  ): Promise<KeyDescription> {
    const row = { ...columns, ...guard.stamp('keys', columns.key_id, columns) }
    if (how === 'insert') await db.insertInto('keys').values(row).execute()
    else await db.updateTable('keys').set(row).where('key_id', '=', columns.key_id).execute()
    return keyDescriptionFrom(row)
  }
}

function assertCovered(
  grant: ReleaseGrant,
  action: ReleaseAction,
  { keyId }: KeyDescription,
  { datasetId }: DekContext,
): void {
  if (grant.covers({ action, keyId, datasetId })) return
  const what = `the grant is not for ${action} of dataset ${datasetId} under key ${keyId}`
  throw new KeyError('GRANT', what)
}
