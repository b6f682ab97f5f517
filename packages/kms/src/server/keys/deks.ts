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
import type { KeyWrap } from '../root/index.ts'
import type { StoreTransaction } from '../store/index.ts'
import {
  asOpen,
  asUsable,
  type KeyDescription,
  readKey,
  type UsableKey,
  type UsableOpenKey,
} from './description.ts'
import { KeyError } from './errors.ts'
import type { ReleaseAction, ReleaseGrant } from './grant.ts'
import type { KeyMaterial } from './material.ts'
import { DEFAULT_SPEC } from './spec.ts'

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

/** The data keys of sealed files: wrapped under keys, and given to those who may have them. */
export abstract class Deks {
  /** Opens the material of keys. */
  protected readonly material: KeyMaterial

  constructor(material: KeyMaterial) {
    this.material = material
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
    const { spec } = key
    if (spec !== DEFAULT_SPEC) {
      throw new KeyError('KEY_USAGE', `a key of kind ${spec} wraps no data keys of files`)
    }
    return await this.material.openWrap(tx, { ...key, spec, version })
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
