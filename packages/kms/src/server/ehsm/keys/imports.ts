import {
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto'
import {
  decryptWith,
  type EncryptionPadding,
  newKeyMaterial,
  publicPem,
  type RsaSpec,
} from '../../crypto/index.ts'
import { KeyWrap, type RootKey } from '../../root/index.ts'
import { StoreError, type StoreTransaction } from '../../store/index.ts'
import type { EhsmImportsTable } from '../../store/schema.ts'
import { EhsmRefusal, failed } from '../wire/refusal.ts'

/** How long a token may be used. */
export const TOKEN_LIFE_MS = 24 * 60 * 60 * 1000

const TOKEN_EXPIRED =
  'Token validity time is 24 hours. Try to send "GetParametersForImport" request again.'

const context = (keyId: string) => Buffer.from(`ehsm import of ${keyId}`)

interface ImportToken {
  readonly keyid: string
  readonly timestamp: number
  readonly hmac: string
}

/** A pair of keys to import under, made outside any transaction, as RSA keys take their time. */
export interface WrappingKey {
  readonly spec: RsaSpec
  readonly material: Uint8Array
  readonly pem: string
}

/** Makes a wrapping key. */
export async function newWrappingKey(spec: RsaSpec): Promise<WrappingKey> {
  const material = await newKeyMaterial(spec)
  return { spec, material, pem: publicPem({ spec, material }) }
}

/**
 * Bring your own key: a wrapping key a key at a time, and tokens that are bound to it, to the key and
 * to the time, so that a token of another key, of an earlier wrapping key, or of nobody is refused.
 */
export class Imports {
  readonly #wrap: KeyWrap
  readonly #tokenKey: KeyObject

  constructor(root: RootKey) {
    this.#wrap = KeyWrap.derivedFrom(root, 'ehsm-wrap')
    const secret = root.derive('ehsm-import')
    this.#tokenKey = secret.with(bytes => createSecretKey(bytes))
    secret.dispose()
  }

  /** Keeps a wrapping key in place of the one before, and gives its token. */
  async begin(
    { db, guard }: StoreTransaction,
    keyId: string,
    wrapping: WrappingKey,
    at: Date,
  ): Promise<string> {
    const { material, pem, spec } = wrapping
    const sealed = this.#wrap.wrap(material, context(`${keyId} ${spec}`))
    const columns = {
      key_id: keyId,
      public_digest: createHash('sha256').update(pem).digest('base64url'),
      wrapped: `${spec} ${Buffer.from(sealed).toString('base64url')}`,
      created_at: at.getTime(),
    }
    const row = {
      ...columns,
      ...guard.stamp<EhsmImportsTable>('ehsm_imports', keyId, columns),
    }
    await db
      .insertInto('ehsm_imports')
      .values(row)
      .onConflict(conflict => conflict.column('key_id').doUpdateSet(row))
      .execute()
    const token: ImportToken = { keyid: keyId, timestamp: at.getTime(), hmac: this.#mac(columns) }
    return Buffer.from(JSON.stringify(token)).toString('base64')
  }

  /**
   * Unwraps material that a token lets in. The wrapping key is gone afterwards, and the token with it.
   * @throws EhsmRefusal
   */
  async finish(
    { db, guard }: StoreTransaction,
    request: {
      readonly keyId: string
      readonly token: string | undefined
      readonly wrapped: Uint8Array
      readonly padding: EncryptionPadding
    },
    at: Date,
  ): Promise<Uint8Array> {
    const { keyId, padding, wrapped } = request
    const token = parseToken(request.token)
    const query = db.selectFrom('ehsm_imports').selectAll().where('key_id', '=', keyId)
    const row = guard.proven('ehsm_imports', keyId, await query.executeTakeFirst())
    const isOf =
      row !== undefined &&
      token.keyid === keyId &&
      token.timestamp === row.created_at &&
      isSame(token.hmac, this.#mac(row))
    if (!isOf) throw new EhsmRefusal(500, 'ImportToken failed.', { denial: 'IMPORT_TOKEN' })
    if (at.getTime() - row.created_at >= TOKEN_LIFE_MS) throw failed(TOKEN_EXPIRED)
    const material = decrypted(this.#wrappingKey(row), padding, wrapped)
    guard.remove('ehsm_imports', keyId)
    await db.deleteFrom('ehsm_imports').where('key_id', '=', keyId).execute()
    return material
  }

  #wrappingKey({ key_id: keyId, wrapped }: EhsmImportsTable) {
    const [spec = '', sealed = ''] = wrapped.split(' ')
    const bytes = Buffer.from(sealed, 'base64url')
    const material = this.#wrap.unwrap(bytes, context(`${keyId} ${spec}`))
    if (material === undefined) {
      throw new StoreError('ROW_MAC', `the wrapping key of key ${keyId} does not unwrap`)
    }
    return { spec: spec as RsaSpec, material }
  }

  #mac(row: Pick<EhsmImportsTable, 'key_id' | 'public_digest' | 'created_at'>): string {
    const text = JSON.stringify(['import token', row.key_id, row.public_digest, row.created_at])
    return createHmac('sha256', this.#tokenKey).update(text).digest('base64')
  }
}

function parseToken(token: string | undefined): ImportToken {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token ?? '', 'base64').toString())
    const { keyid, timestamp, hmac } = Object(parsed) as Record<string, unknown>
    if (typeof keyid === 'string' && typeof timestamp === 'number' && typeof hmac === 'string') {
      return { keyid, timestamp, hmac }
    }
  } catch (cause) {
    throw failed('ImportKeyMaterial failed.', cause)
  }
  throw failed('ImportKeyMaterial failed.')
}

function decrypted(
  key: Parameters<typeof decryptWith>[0],
  padding: EncryptionPadding,
  wrapped: Uint8Array,
): Uint8Array {
  try {
    return decryptWith(key, padding, wrapped)
  } catch (cause) {
    throw failed('Import key failed.', cause)
  }
}

function isSame(seen: string, wanted: string): boolean {
  const [left, right] = [Buffer.from(seen), Buffer.from(wanted)]
  return left.length === right.length && timingSafeEqual(left, right)
}
