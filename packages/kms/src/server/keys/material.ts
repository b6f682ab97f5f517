import { randomBytes } from 'node:crypto'
import { newKeyMaterial } from '../crypto/index.ts'
import { KeyWrap, type RootKey } from '../root/index.ts'
import { type RowRekey, StoreError, type StoreTransaction } from '../store/index.ts'
import type { KeyVersionsTable } from '../store/schema.ts'
import { type KeyDescription, keyDescriptionFrom } from './description.ts'
import { KeyError } from './errors.ts'
import { cryptoSpecOf, DEFAULT_SPEC } from './spec.ts'

const LABEL = 'cloister kms v1 cmk material'
const CMK_LENGTH = 32

/** What decides the use of a version's material, and is bound to it. */
export type MaterialPlace = Pick<KeyDescription, 'keyId' | 'mode' | 'spec' | 'usage'> & {
  readonly version: number
}

function encodePlace({ keyId, mode, spec, usage, version }: MaterialPlace): Uint8Array {
  // The default kind was the only one, and its material is bound as it was then.
  const kind = spec === DEFAULT_SPEC ? [] : [spec, usage]
  const parts = [LABEL, keyId, String(version), mode, ...kind].flatMap(text => {
    const bytes = Buffer.from(text, 'utf8')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return [length, bytes]
  })
  return Buffer.concat(parts)
}

/** A key version under another root key. */
export const rekeyKeyVersion: RowRekey<'key_versions'> = async (row, change, db) => {
  const query = db.selectFrom('keys').selectAll().where('key_id', '=', row.key_id)
  const key = await query.executeTakeFirst()
  if (key === undefined) throw new StoreError('ROW_MAC', `version ${row.id} is of no key`)
  const place = encodePlace({ ...keyDescriptionFrom(key), version: row.version })
  return { wrapped: change.rewrap('cmk-wrap', row.wrapped, place) }
}

/** Makes the material of a new key or version, for the caller to store and to zero. */
export async function newMaterial(spec: KeyDescription['spec']): Promise<Uint8Array> {
  return spec === DEFAULT_SPEC
    ? new Uint8Array(randomBytes(CMK_LENGTH))
    : await newKeyMaterial(cryptoSpecOf(spec))
}

/** CMK material at rest: wrapped under a root-derived key, bound to all that its use depends on. */
export class KeyMaterial {
  readonly #wrap: KeyWrap
  /** What was opened of rows that stand, and the mode that each was found bound to. */
  readonly #wraps = new WeakMap<
    KeyVersionsTable,
    { readonly mode: KeyDescription['mode']; readonly wrap: KeyWrap }
  >()

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'cmk-wrap')
  }

  /** Stores the material of a new version. */
  async store(
    tx: StoreTransaction,
    place: MaterialPlace,
    material: Uint8Array,
    at: Date,
  ): Promise<void> {
    const wrapped = this.#wrap.wrap(material, encodePlace(place))
    const id = `${place.keyId}/${place.version}`
    const columns = {
      id,
      key_id: place.keyId,
      version: place.version,
      wrapped: Buffer.from(wrapped).toString('base64url'),
      created_at: at.toISOString(),
    }
    const stamp = tx.guard.stamp<KeyVersionsTable>('key_versions', id, columns)
    tx.insert('key_versions', { ...columns, ...stamp })
  }

  /**
   * Calls `use` with one version's material, which is zeroed afterwards.
   * @throws KeyError KEY_VERSION; StoreError ROW_MAC
   */
  async open<T>(
    tx: StoreTransaction,
    place: MaterialPlace,
    use: (material: Uint8Array) => T,
  ): Promise<T> {
    return this.#opened(await readVersion(tx, place), place, use)
  }

  /**
   * Opens one version of the default kind. What was opened is kept beside its row for as long as that
   * stands.
   * @throws KeyError KEY_VERSION; StoreError ROW_MAC
   */
  async openWrap(
    tx: StoreTransaction,
    place: MaterialPlace & { readonly spec: typeof DEFAULT_SPEC },
  ): Promise<KeyWrap> {
    const row = await readVersion(tx, place)
    const known = this.#wraps.get(row)
    if (known?.mode === place.mode) return known.wrap
    const wrap = this.#opened(row, place, material => new KeyWrap(material))
    this.#wraps.set(row, { mode: place.mode, wrap })
    return wrap
  }

  /** Takes away the material of every version of a key: what is under it is lost for good. */
  async remove({ db, guard }: StoreTransaction, key: KeyDescription): Promise<void> {
    for (let version = 1; version <= key.currentVersion; version++) {
      const id = `${key.keyId}/${version}`
      if (guard.has('key_versions', id)) guard.remove('key_versions', id)
    }
    await db.deleteFrom('key_versions').where('key_id', '=', key.keyId).execute()
  }

  #opened<T>(row: KeyVersionsTable, place: MaterialPlace, use: (material: Uint8Array) => T): T {
    const bytes = this.#wrap.unwrap(Buffer.from(row.wrapped, 'base64url'), encodePlace(place))
    if (bytes === undefined) {
      const { keyId, version } = place
      throw new KeyError('KEY_VERSION', `version ${version} of key ${keyId} does not open`)
    }
    try {
      return use(bytes)
    } finally {
      bytes.fill(0)
    }
  }
}

async function readVersion(
  tx: StoreTransaction,
  { keyId, version }: MaterialPlace,
): Promise<KeyVersionsTable> {
  const row = await tx.find('key_versions', `${keyId}/${version}`)
  if (row !== undefined) return row
  throw new KeyError('KEY_VERSION', `key ${keyId} has no version ${version}`)
}
