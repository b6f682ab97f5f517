import { randomUUID } from 'node:crypto'
import { type KeyWrap, type RootKey, Secret } from '../root/index.ts'
import type { StoreTransaction } from '../store/index.ts'
import { Aliases } from './aliases.ts'
import { Deks } from './deks.ts'
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
import { Imports } from './imports.ts'
import { KeyLife } from './life.ts'
import { KeyMaterial, newMaterial } from './material.ts'
import { type Page, type PageRequest, pageFrom, placeOf } from './page.ts'
import { changeKey, insertKey, tagsColumn } from './rows.ts'
import { type CmkSpec, type CmkUsage, DEFAULT_SPEC, DEFAULT_USAGE, usageFor } from './spec.ts'

/** A key to be made. */
export interface NewKey {
  readonly owner: string
  readonly mode: KeyMode
  /** The kind that wraps DEKs unless told; any other kind needs its usage. */
  readonly spec?: CmkSpec
  readonly usage?: CmkUsage
  /**
   * What {@link newMaterial} gave, for the caller to zero once the transaction is over: it may be run
   * again. Null for a key whose material will be imported.
   */
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
export class Keys extends Deks {
  /** Names that accounts have for their keys. */
  readonly aliases = new Aliases()
  /** Material that is brought. */
  readonly imports: Imports
  /** What is planned for keys, and what people note on them. */
  readonly life: KeyLife

  constructor(root: RootKey) {
    const material = new KeyMaterial(root)
    super(material)
    this.imports = new Imports(root, material)
    this.life = new KeyLife(material, this.aliases)
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
    const own = key.material === undefined ? await newMaterial(spec) : undefined
    const material = own ?? key.material ?? null
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
      await this.material.store(tx, { ...description, version: 1 }, material, at)
    } finally {
      own?.fill(0)
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
    const { spec } = key
    if (spec === DEFAULT_SPEC) {
      const wrap = await this.material.openWrap(tx, { ...key, spec, version })
      return { kind: 'symmetric', key, version, wrap }
    }
    const material = await this.material.open(tx, { ...key, version }, Secret.from)
    return { kind: 'asymmetric', key, version, material }
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
}
