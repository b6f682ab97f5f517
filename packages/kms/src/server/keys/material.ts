import { randomBytes } from 'node:crypto'
import { KeyWrap, type RootKey } from '../root/index.ts'
import { type RowRekey, StoreError, type StoreTransaction } from '../store/index.ts'
import type { KeyVersionsTable, Stamp } from '../store/schema.ts'
import type { KeyDescription, KeyMode } from './description.ts'
import { KeyError } from './errors.ts'

const LABEL = 'cloister kms v1 cmk material'
const CMK_LENGTH = 32

interface Place {
  readonly keyId: string
  readonly version: number
  readonly mode: KeyMode
}

function encodePlace({ keyId, mode, version }: Place): Uint8Array {
  const parts = [LABEL, keyId, String(version), mode].flatMap(text => {
    const bytes = Buffer.from(text, 'utf8')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return [length, bytes]
  })
  return Buffer.concat(parts)
}

/** A key version under another root key. */
export const rekeyKeyVersion: RowRekey<'key_versions'> = async (row, change, db) => {
  const query = db.selectFrom('keys').select('mode').where('key_id', '=', row.key_id)
  const key = await query.executeTakeFirst()
  if (key === undefined) throw new StoreError('ROW_MAC', `version ${row.id} is of no key`)
  const place = encodePlace({ keyId: row.key_id, version: row.version, mode: key.mode })
  return { wrapped: change.rewrap('cmk-wrap', row.wrapped, place) }
}

/** CMK material at rest: wrapped under a root-derived key, bound to key id, version and mode. */
export class KeyMaterial {
  readonly #wrap: KeyWrap
  /** Versions of rows that stand, and the mode that each was found bound to. */
  readonly #opened = new WeakMap<
    KeyVersionsTable,
    { readonly mode: KeyMode; readonly wrap: KeyWrap }
  >()

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'cmk-wrap')
  }

  /** Makes and stores the material of a new version. */
  async create({ db, guard }: StoreTransaction, place: Place, at: Date): Promise<void> {
    const fresh = new Uint8Array(randomBytes(CMK_LENGTH))
    const wrapped = this.#wrap.wrap(fresh, encodePlace(place))
    fresh.fill(0)
    const id = `${place.keyId}/${place.version}`
    const columns = {
      id,
      key_id: place.keyId,
      version: place.version,
      wrapped: Buffer.from(wrapped).toString('base64url'),
      created_at: at.toISOString(),
    }
    const stamp: Stamp = guard.stamp('key_versions', id, columns)
    await db
      .insertInto('key_versions')
      .values({ ...columns, ...stamp })
      .execute()
  }

  /**
   * Opens one version for wrapping and unwrapping DEKs.
   * @throws KeyError KEY_VERSION; StoreError ROW_MAC
   */
  async open(
    tx: StoreTransaction,
    { keyId, mode }: KeyDescription,
    version: number,
  ): Promise<KeyWrap> {
    const id = `${keyId}/${version}`
    const row = await tx.find('key_versions', id)
    if (row === undefined) {
      throw new KeyError('KEY_VERSION', `key ${keyId} has no version ${version}`)
    }
    const known = this.#opened.get(row)
    if (known?.mode === mode) return known.wrap
    const wrapped = Buffer.from(row.wrapped, 'base64url')
    const bytes = this.#wrap.unwrap(wrapped, encodePlace({ keyId, mode, version }))
    if (bytes === undefined) {
      throw new KeyError('KEY_VERSION', `version ${version} of key ${keyId} does not open`)
    }
    const wrap = new KeyWrap(bytes)
    bytes.fill(0)
    this.#opened.set(row, { mode, wrap })
    return wrap
  }
}
