import {
  createHash,
  createHmac,
  createPublicKey,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto'
import type { Static } from '@sinclair/typebox'
import { encodeLengthPrefixed } from '../../protocol/encoding.ts'
import type { keyAnswers, keyRequests } from '../../protocol/messages/keys.ts'
import {
  CryptoError,
  decryptWith,
  importedMaterial,
  newKeyMaterial,
  publicPem,
  rsaAesUnwrap,
} from '../crypto/index.ts'
import { KeyWrap, type RootKey } from '../root/index.ts'
import { StoreError, type StoreTransaction } from '../store/index.ts'
import type { Columns, KeyImportsTable } from '../store/schema.ts'
import { type KeyDescription, readKey, requireState } from './description.ts'
import { KeyError } from './errors.ts'
import type { KeyMaterial } from './material.ts'
import { changeKey } from './rows.ts'
import { cryptoSpecOf, DEFAULT_SPEC } from './spec.ts'

/** How long a token lets material in, as with AWS KMS. */
const TOKEN_LIFE_MS = 24 * 60 * 60 * 1000

const LABEL = 'cloister kms v1 import'

/** Ways to wrap material. */
export type WrappingAlgorithm = Static<typeof keyAnswers.importParameters>['wrappingAlgorithm']

/** Kinds of key to wrap it to. */
export type WrappingKeySpec = NonNullable<
  Static<typeof keyRequests.importParameters>['wrappingKeySpec']
>

/** A key pair to import under, made outside any transaction, as RSA keys take their time. */
export interface ImportKeyPair {
  readonly spec: WrappingKeySpec
  readonly material: Uint8Array
  /** PEM of SubjectPublicKeyInfo. */
  readonly publicKey: string
}

/** Makes a key pair to import one key's material under. */
export async function newImportKeyPair(spec: WrappingKeySpec): Promise<ImportKeyPair> {
  const material = await newKeyMaterial(spec)
  const key = createPublicKey(publicPem({ spec, material }))
  const publicKey = key.export({ type: 'spki', format: 'pem' }).toString()
  return { spec, material, publicKey }
}

/** What material may be brought with. */
export interface ImportParameters {
  readonly importToken: Uint8Array
  readonly expiresAt: Date
}

const text = (value: string): Uint8Array => Buffer.from(value, 'utf8')

/** Takes the wrapping key of a key away, if it has one. */
export async function removeImport({ db, guard }: StoreTransaction, keyId: string): Promise<void> {
  if (!guard.has('key_imports', keyId)) return
  guard.remove('key_imports', keyId)
  await db.deleteFrom('key_imports').where('key_id', '=', keyId).execute()
}

/**
 * Bring your own key. Each import has a fresh wrapping key and a token, which is a MAC over the key,
 * the wrapping key, the algorithm and the time it lasts: a token of another key, of an earlier
 * wrapping key, or of nobody lets nothing in. Both are gone once they have served.
 */
export class Imports {
  readonly #wrap: KeyWrap
  readonly #material: KeyMaterial
  readonly #tokenKey: KeyObject

  constructor(root: RootKey, material: KeyMaterial) {
    this.#wrap = KeyWrap.derivedFrom(root, 'cmk-wrap')
    this.#material = material
    const secret = root.derive('import-token')
    this.#tokenKey = secret.with(bytes => createSecretKey(bytes))
    secret.dispose()
  }

  /** @throws KeyError KEY_STATE where a key does not wait for material */
  requireAwaiting(key: KeyDescription): void {
    requireState(key, 'pending-import')
  }

  /**
   * Keeps a wrapping key in place of the one before, and gives its token.
   * @throws KeyError KEY_NOT_FOUND; KEY_STATE where the key does not wait for material
   */
  async begin(
    tx: StoreTransaction,
    keyId: string,
    { algorithm, pair }: { readonly algorithm: WrappingAlgorithm; readonly pair: ImportKeyPair },
    at: Date,
  ): Promise<ImportParameters> {
    this.requireAwaiting(await readKey(tx, keyId))
    const { material, publicKey, spec } = pair
    const columns: Columns<KeyImportsTable> = {
      key_id: keyId,
      algorithm,
      spec,
      public_digest: createHash('sha256').update(publicKey).digest('base64url'),
      wrapped: Buffer.from(this.#wrap.wrap(material, place(keyId, spec))).toString('base64url'),
      expires_at: at.getTime() + TOKEN_LIFE_MS,
    }
    const stamp = tx.guard.stamp<KeyImportsTable>('key_imports', keyId, columns)
    tx.put('key_imports', { ...columns, ...stamp })
    return { importToken: this.#token(columns), expiresAt: new Date(columns.expires_at) }
  }

  /**
   * Takes a key's material in, once, and enables the key.
   * @throws KeyError KEY_NOT_FOUND, KEY_STATE, IMPORT_TOKEN, IMPORT_MATERIAL
   */
  async finish(
    tx: StoreTransaction,
    keyId: string,
    brought: { readonly importToken: Uint8Array; readonly encryptedKeyMaterial: Uint8Array },
    at: Date,
  ): Promise<KeyDescription> {
    const key = await readKey(tx, keyId)
    this.requireAwaiting(key)
    const row = await tx.find('key_imports', keyId)
    if (row === undefined || !this.#isTokenOf(row, brought.importToken)) {
      throw new KeyError('IMPORT_TOKEN', `the token is not the newest one of key ${keyId}`)
    }
    if (at.getTime() >= row.expires_at) {
      throw new KeyError('IMPORT_TOKEN', `the token lasted until ${iso(row.expires_at)}`)
    }
    const material = this.#unwrapped(key, row, brought.encryptedKeyMaterial)
    try {
      await this.#material.store(tx, { ...key, version: 1 }, material, at)
    } finally {
      material.fill(0)
    }
    await removeImport(tx, keyId)
    return await changeKey(tx, keyId, { state: 'enabled', current_version: 1 })
  }

  #unwrapped(key: KeyDescription, row: KeyImportsTable, encrypted: Uint8Array): Uint8Array {
    const sealed = Buffer.from(row.wrapped, 'base64url')
    const wrapping = this.#wrap.unwrap(sealed, place(key.keyId, row.spec))
    if (wrapping === undefined) {
      throw new StoreError('ROW_MAC', `the wrapping key of key ${key.keyId} does not unwrap`)
    }
    try {
      // The row is proven: only this program's own names are in it.
      const spec = row.spec as WrappingKeySpec
      const bytes =
        row.algorithm === 'RSAES_OAEP_SHA_256'
          ? decryptWith({ spec, material: wrapping }, 'oaep', encrypted)
          : rsaAesUnwrap(wrapping, encrypted)
      try {
        return importedMaterial(cryptoSpecOf(key.spec), bytes)
      } finally {
        bytes.fill(0)
      }
    } catch (cause) {
      if (!(cause instanceof CryptoError)) throw cause
      const wanted = key.spec === DEFAULT_SPEC ? '32 bytes' : `PKCS#8 of a ${key.spec} key`
      const how = `wrapped by ${row.algorithm} to the key that the token came with`
      throw new KeyError('IMPORT_MATERIAL', `wanted ${wanted}, ${how}`, { cause })
    } finally {
      wrapping.fill(0)
    }
  }

  #token(row: Columns<KeyImportsTable>): Uint8Array {
    const { algorithm, expires_at: expiresAt, key_id: keyId, public_digest: digest } = row
    const parts = [LABEL, 'token', keyId, digest, algorithm, String(expiresAt)].map(text)
    const mac = createHmac('sha256', this.#tokenKey).update(encodeLengthPrefixed(parts)).digest()
    return new Uint8Array(mac)
  }

  #isTokenOf(row: KeyImportsTable, token: Uint8Array): boolean {
    const wanted = this.#token(row)
    return token.length === wanted.length && timingSafeEqual(token, wanted)
  }
}

const iso = (ms: number): string => new Date(ms).toISOString()

const place = (keyId: string, spec: string): Uint8Array =>
  encodeLengthPrefixed([LABEL, 'wrapping key', keyId, spec].map(text))
