import { randomBytes } from 'node:crypto'
import { newKeyMaterial } from '../crypto/index.ts'
import { KeyWrap, type RootKey } from '../root/index.ts'
import { type RowRekey, StoreError, type StoreTransaction } from '../store/index.ts'
import type { Stamp } from '../store/schema.ts'
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

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'cmk-wrap')
  }

  /** Stores the material of a new version. */
  async store(
    { db, guard }: StoreTransaction,
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
    const stamp: Stamp = guard.stamp('key_versions', id, columns)
    await db
      .insertInto('key_versions')
      .values({ ...columns, ...stamp })
      .execute()
  }

  /**
   * Calls `use` with one version's material, which is zeroed afterwards.
   * @throws KeyError KEY_VERSION; StoreError ROW_MAC
   */
  async open<T>(
    { db, guard }: StoreTransaction,
    place: MaterialPlace,
    use: (material: Uint8Array) => T,
  ): Promise<T> {
    const { keyId, version } = place
    const id = `${keyId}/${version}`
    const query = db.selectFrom('key_versions').selectAll().where('id', '=', id)
    const row = guard.proven('key_versions', id, await query.executeTakeFirst())
    if (row === undefined) {
      throw new KeyError('KEY_VERSION', `key ${keyId} has no version ${version}`)
    }
    const bytes = this.#wrap.unwrap(Buffer.from(row.wrapped, 'base64url'), encodePlace(place))
    if (bytes === undefined) {
      throw new KeyError('KEY_VERSION', `version ${version} of key ${keyId} does not open`)
    }
    try {
      return use(bytes)
    } finally {
      bytes.fill(0)
    }
  }

  /** Takes away the material of every version of a key: what is under it is lost for good. */
  async remove({ db, guard }: StoreTransaction, key: KeyDescription): Promise<void> {
    for (let version = 1; version <= key.currentVersion; version++) {
      const id = `${key.keyId}/${version}`
      if (guard.has('key_versions', id)) guard.remove('key_versions', id)
    }
    await db.deleteFrom('key_versions').where('key_id', '=', key.keyId).execute()
  }
}
