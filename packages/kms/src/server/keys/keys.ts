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
import { KeyWrap, type RootKey, Secret } from '../root/index.ts'
import type { StoreTransaction } from '../store/index.ts'
import { Aliases } from './aliases.ts'
import {
  asOpen,
  asUsable,
  type KeyDescription,
  type KeyMode,
  keyDescriptionFrom,
  readKey,
  requireState,
  type UsableKey,
  type UsableOpenKey,
} from './description.ts'
import { KeyError } from './errors.ts'
import type { ReleaseAction, ReleaseGrant } from './grant.ts'
import { Imports } from './imports.ts'
import { KeyLife } from './life.ts'
import { KeyMaterial, newMaterial } from './material.ts'
import { type Page, type PageRequest, pageFrom, placeOf } from './page.ts'
import { changeKey, insertKey, tagsColumn } from './rows.ts'
import { type CmkSpec, type CmkUsage, DEFAULT_SPEC, DEFAULT_USAGE, usageFor } from './spec.ts'

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

/** A key to be made. */
export interface NewKey {
  readonly owner: string
  readonly mode: KeyMode
  /** The kind that wraps DEKs unless told; any other kind needs its usage. */
  readonly spec?: CmkSpec
  readonly usage?: CmkUsage
  /** What {@link newMaterial} gave; null for a key whose material will be imported. */
  readonly material?: Uint8Array | null
  readonly description?: string
  readonly tags?: Readonly<Record<string, string>>
  readonly at: Date
}

/** One version of an open key, for its owner's use. Holds nothing that is the transaction's. */
export type OpenedKey = {
  readonly key: UsableOpenKey
  readonly version: number
} & (
  | { readonly kind: 'symmetric'; readonly wrap: KeyWrap }
  | { readonly kind: 'asymmetric'; readonly material: Secret }
)

/** Which version of which key is to be opened, and for whom. */
export interface OpenRequest {
  readonly keyId: string
  /** The current version unless told; called once the key is known to be usable. */
  readonly versionOf?: (key: KeyDescription) => number
  /** What it must be for; anything where left out. */
  readonly usage?: CmkUsage
  /** Throws unless the key is the caller's; called before anything is told of it. */
  readonly authorise: (key: KeyDescription) => void
}

/** Customer master keys, and what is under them. */
export class Keys {
  readonly #material: KeyMaterial
  /** Names that accounts have for their keys. */
  readonly aliases = new Aliases()
  /** Material that is brought. */
  readonly imports: Imports
  /** What is planned for keys, and what people note on them. */
  readonly life: KeyLife

  constructor(root: RootKey) {
    this.#material = new KeyMaterial(root)
    this.imports = new Imports(root, this.#material)
    this.life = new KeyLife(this.#material, this.aliases)
  }

  /**
   * Makes a key of one version, or one that waits for its material. Mode and kind are for good.
   * @throws KeyError KEY_USAGE
   */
  async create(tx: StoreTransaction, key: NewKey): Promise<KeyDescription> {
    const { at, mode, owner, spec = DEFAULT_SPEC } = key
    const usage = usageFor(spec, key.usage)
    if (mode !== 'open' && spec !== DEFAULT_SPEC) {
      const what = `a ${spec} key is used by its owner: wanted mode open, seen ${mode}`
      throw new KeyError('KEY_USAGE', what)
    }
    const material = key.material === undefined ? await newMaterial(spec) : key.material
    const keyId = randomUUID()
    const description = await insertKey(tx, {
      key_id: keyId,
      owner,
      alias: null,
      mode,
      state: material === null ? 'pending-import' : 'enabled',
      current_version: material === null ? 0 : 1,
      created_at: at.toISOString(),
      spec: spec === DEFAULT_SPEC ? null : spec,
      usage: usage === DEFAULT_USAGE ? null : usage,
      origin: material === null ? 'external' : null,
      description: key.description === undefined || key.description === '' ? null : key.description,
      tags: tagsColumn(key.tags ?? {}),
      deletion_at: null,
      rotation_days: null,
      next_rotation_at: null,
    })
    if (material === null) return description
    try {
      await this.#material.store(tx, { ...description, version: 1 }, material, at)
    } finally {
      material.fill(0)
    }
    return description
  }

  /** An account's keys but those that were deleted, oldest first. @throws StoreError ROW_MAC */
  async list(
    { db, guard }: StoreTransaction,
    owner: string,
    { after, limit }: PageRequest,
  ): Promise<Page<KeyDescription>> {
    const own = db.selectFrom('keys').selectAll().where('owner', '=', owner)
    let query = own.where('state', '!=', 'deleted')
    if (after !== undefined) {
      const [createdAt, keyId] = placeOf(after)
      query = query.where(({ eb, or, and }) =>
        or([
          eb('created_at', '>', createdAt),
          and([eb('created_at', '=', createdAt), eb('key_id', '>', keyId)]),
        ]),
      )
    }
    const ordered = query.orderBy('created_at').orderBy('key_id')
    const rows = await ordered.limit(limit + 1).execute()
    for (const row of rows) guard.proven('keys', row.key_id, row)
    return pageFrom(rows.map(keyDescriptionFrom), limit, key => [key.createdAt, key.keyId])
  }

  /** Describes a key. @throws KeyError KEY_NOT_FOUND; StoreError ROW_MAC */
  async get(tx: StoreTransaction, keyId: string): Promise<KeyDescription> {
    return await readKey(tx, keyId)
  }

  /** Describes a key that may be used. @throws KeyError KEY_NOT_FOUND, KEY_DISABLED, KEY_STATE */
  async usable(tx: StoreTransaction, keyId: string): Promise<UsableKey> {
    return asUsable(await readKey(tx, keyId))
  }

  /**
   * Opens a version of an open key for its owner. All that uses a key's material outside the
   * wrapping of DEKs comes through here; an attested-only key never does.
   * @throws KeyError KEY_NOT_FOUND, KEY_DISABLED, KEY_STATE, KEY_MODE, KEY_USAGE, KEY_VERSION
   */
  async open(tx: StoreTransaction, request: OpenRequest): Promise<OpenedKey> {
    const { authorise, keyId, usage, versionOf } = request
    const found = await readKey(tx, keyId)
    authorise(found)
    const key = asOpen(asUsable(found))
    if (usage !== undefined && key.usage !== usage) {
      throw new KeyError('KEY_USAGE', `key ${keyId}: wanted usage ${usage}, seen ${key.usage}`)
    }
    const version = versionOf?.(key) ?? key.currentVersion
    if (version < 1 || version > key.currentVersion) {
      throw new KeyError('CIPHERTEXT', `the ciphertext is of no version of key ${keyId}`)
    }
    const place = { ...key, version }
    return await this.#material.open(tx, place, (material): OpenedKey => {
      return key.spec === DEFAULT_SPEC
        ? { kind: 'symmetric', key, version, wrap: new KeyWrap(material) }
        : { kind: 'asymmetric', key, version, material: Secret.from(material) }
    })
  }

  /**
   * Disables a key, which then does nothing, or enables it.
   * @throws KeyError KEY_NOT_FOUND; KEY_STATE where it waits for its material or its deletion
   */
  async setState(
    tx: StoreTransaction,
    keyId: string,
    state: 'enabled' | 'disabled',
  ): Promise<KeyDescription> {
    requireState(await readKey(tx, keyId), 'enabled', 'disabled')
    return await changeKey(tx, keyId, { state })
  }

  /** Adds a version, which wraps from now on. @throws KeyError KEY_NOT_FOUND, KEY_DISABLED, … */
  async rotate(tx: StoreTransaction, keyId: string, at: Date): Promise<KeyDescription> {
    return await this.life.rotate(tx, keyId, at)
  }

  /** Wraps a DEK under the current version. */
  async wrapDek(
    tx: StoreTransaction,
    key: UsableKey,
    dek: Dek,
    context: DekContext,
  ): Promise<WrappedDek> {
    const cmkVersion = key.currentVersion
    const wrap = await this.#dekWrap(tx, key, cmkVersion)
    const bytes = dek.exposeBytes()
    try {
      const associated = encodeWrapContext({ ...context, cmkId: key.keyId, cmkVersion })
      return { cmkVersion, wrappedDek: wrap.wrap(bytes, associated) }
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
    const stored = asOpen(asUsable(await readKey(tx, key.keyId)))
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
    const wrap = await this.#dekWrap(tx, key, cmkVersion)
    const associated = encodeWrapContext({ ...context, cmkId: key.keyId, cmkVersion })
    const bytes = wrap.unwrap(wrappedDek, associated)
    if (bytes === undefined || bytes.length !== DEK_LENGTH) {
      bytes?.fill(0)
      const what = `the wrapped DEK is not of file ${context.fileId} under key ${key.keyId}`
      throw new KeyError('UNWRAP', what)
    }
    const dek = Dek.from(bytes)
    bytes.fill(0)
    return dek
  }

  /** @throws KeyError KEY_USAGE for a key of a kind that wraps no DEKs; KEY_VERSION */
  async #dekWrap(tx: StoreTransaction, key: UsableKey, version: number): Promise<KeyWrap> {
    if (key.spec !== DEFAULT_SPEC) {
      throw new KeyError('KEY_USAGE', `a key of kind ${key.spec} wraps no data keys of files`)
    }
    return await this.#material.open(tx, { ...key, version }, material => new KeyWrap(material))
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
