import { Dek, type Slot } from '@cloister/sealed'
import type { Static } from '@sinclair/typebox'
import { fromBase64Url, toBase64Url } from '../protocol/encoding.ts'
import { MAX_PAGE } from '../protocol/messages/keys.ts'
import {
  answers,
  type DekContextJson,
  type KeyDescription,
  type requests,
} from '../protocol/messages.ts'
import { slotFromJson, slotToJson } from '../protocol/slot.ts'
import { DataClient } from './data-client.ts'
import { type ImportParameters, wrapForImport } from './import-material.ts'

/** An alias, and the key that it names. */
export type KeyAlias = Static<typeof answers.alias>

/** Calls about keys, their life and their aliases. What changes a key takes its id. */
export abstract class KeyClient extends DataClient {
  /** Makes a customer master key; attested-only unless told, for good. */
  async createKey(key: Static<typeof requests.createKey>): Promise<KeyDescription> {
    return await this.post('/v1/keys', key, answers.key)
  }

  /** The account's keys, oldest first, however many pages they take. */
  async listKeys(): Promise<readonly KeyDescription[]> {
    const keys: KeyDescription[] = []
    for (let after = ''; ; ) {
      const page = await this.get(`/v1/keys?limit=${MAX_PAGE}${after}`, answers.keys)
      keys.push(...page.keys)
      if (page.next === null) return keys
      after = `&after=${page.next}`
    }
  }

  /** Refuses every use of a key until it is enabled again. */
  async disableKey(keyId: string): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/disable`, {}, answers.key, true)
  }

  /** Allows the use of a key again. */
  async enableKey(keyId: string): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/enable`, {}, answers.key, true)
  }

  /** Adds a version to a key; it wraps from now on, and the versions before it still unwrap. */
  async rotateKey(keyId: string): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/rotate`, {}, answers.key)
  }

  /**
   * Has a sealed file's DEK wrapped anew under the key's current version, without seeing the DEK.
   * @param header - The file's whole header
   * @returns the header to put in its place, of the same length; the same one if it is current
   */
  async rewrapHeader(keyId: string, header: Uint8Array): Promise<Uint8Array> {
    const body = { header: toBase64Url(header) }
    const answer = await this.post(`/v1/keys/${keyId}/rewrap`, body, answers.rewrap, true)
    return fromBase64Url('header', answer.header)
  }

  /** Wraps a file's DEK under a key, bound to that file. */
  async wrapDek(keyId: string, dek: Dek, context: DekContextJson): Promise<Slot> {
    const bytes = dek.exposeBytes()
    const body = { dek: toBase64Url(bytes), context }
    bytes.fill(0)
    return slotFromJson((await this.post(`/v1/keys/${keyId}/wrap`, body, answers.wrap)).slot)
  }

  /** Unwraps a DEK outside any enclave; refused with KEY_ATTESTED_ONLY unless the key is open. */
  async unwrapDek(keyId: string, slot: Slot, context: DekContextJson): Promise<Dek> {
    const body = { slot: slotToJson(slot), context }
    const answer = await this.post(`/v1/keys/${keyId}/unwrap`, body, answers.unwrap)
    const bytes = fromBase64Url('DEK', answer.dek)
    const dek = Dek.from(bytes)
    bytes.fill(0)
    return dek
  }

  /** Describes a key. @param key - A key id, or `alias/<alias>` */
  async describeKey(key: string): Promise<KeyDescription> {
    return await this.get(`/v1/keys/${encodeURIComponent(key)}`, answers.key)
  }

  /** Notes what a key is for. */
  async updateKeyDescription(keyId: string, description: string): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/update`, { description }, answers.key, true)
  }

  /** Has the service rotate a key by itself, every so many days. */
  async enableKeyRotation(keyId: string, periodDays: number): Promise<KeyDescription> {
    const body = { periodDays }
    return await this.post(`/v1/keys/${keyId}/enable-rotation`, body, answers.key, true)
  }

  /** Has a key rotated on demand only. */
  async disableKeyRotation(keyId: string): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/disable-rotation`, {}, answers.key, true)
  }

  /**
   * Plans the deletion of a key, which does nothing from now on. When the waiting period is over, its
   * material is gone for good, and with it whatever is encrypted under it.
   * @param waitingPeriodDays - 7 to 30; 30 unless told
   */
  async scheduleKeyDeletion(keyId: string, waitingPeriodDays?: number): Promise<KeyDescription> {
    const body = waitingPeriodDays === undefined ? {} : { waitingPeriodDays }
    return await this.post(`/v1/keys/${keyId}/schedule-deletion`, body, answers.key)
  }

  /** Cancels a planned deletion; the key is then disabled. */
  async cancelKeyDeletion(keyId: string): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/cancel-deletion`, {}, answers.key)
  }

  /** Sets tags of a key, in place of those of the same names. */
  async tagKey(keyId: string, tags: Readonly<Record<string, string>>): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/tag`, { tags }, answers.key, true)
  }

  /** Takes tags of a key away. */
  async untagKey(keyId: string, tagKeys: readonly string[]): Promise<KeyDescription> {
    return await this.post(`/v1/keys/${keyId}/untag`, { tagKeys }, answers.key, true)
  }

  /** Names a key; ALIAS_TAKEN where the account has a key of that name. */
  async createAlias(alias: string, keyId: string): Promise<KeyAlias> {
    return await this.post('/v1/aliases', { alias, keyId }, answers.alias)
  }

  /** The account's aliases, in the order of their names, however many pages they take. */
  async listAliases(): Promise<readonly KeyAlias[]> {
    const aliases: KeyAlias[] = []
    for (let after = ''; ; ) {
      const page = await this.get(`/v1/aliases?limit=${MAX_PAGE}${after}`, answers.aliases)
      aliases.push(...page.aliases)
      if (page.next === null) return aliases
      after = `&after=${page.next}`
    }
  }

  /** Has an alias name another key. Policies and jobs name key ids, and do not notice. */
  async updateAlias(alias: string, keyId: string): Promise<KeyAlias> {
    const path = `/v1/aliases/${encodeURIComponent(alias)}/update`
    return await this.post(path, { keyId }, answers.alias, true)
  }

  /** Takes an alias away; the key stays. */
  async deleteAlias(alias: string): Promise<void> {
    await this.post(`/v1/aliases/${encodeURIComponent(alias)}/delete`, {}, answers.aliasDeleted)
  }

  /** A fresh key to wrap material to, and the token that lets it in once, within a day. */
  async getParametersForImport(
    keyId: string,
    how: Static<typeof requests.importParameters> = {},
  ): Promise<ImportParameters> {
    return await this.post(`/v1/keys/${keyId}/import-parameters`, how, answers.importParameters)
  }

  /** Brings a key's material, wrapped by {@link wrapForImport} or elsewhere. */
  async importKeyMaterial(
    keyId: string,
    importToken: string,
    encryptedKeyMaterial: Uint8Array,
  ): Promise<KeyDescription> {
    const body = { importToken, encryptedKeyMaterial: toBase64Url(encryptedKeyMaterial) }
    return await this.post(`/v1/keys/${keyId}/import`, body, answers.key)
  }

  /**
   * Brings a key's material in one step: wrapped here, so that only the key service reads it.
   * @param material - 32 bytes for a symmetric key, PKCS#8 for RSA and EC
   */
  async importKey(keyId: string, material: Uint8Array): Promise<KeyDescription> {
    const isSymmetric = material.length === 32
    const parameters = await this.getParametersForImport(keyId, {
      wrappingAlgorithm: isSymmetric ? 'RSAES_OAEP_SHA_256' : 'RSA_AES_KEY_WRAP_SHA_256',
    })
    const wrapped = wrapForImport(parameters, material)
    return await this.importKeyMaterial(keyId, parameters.importToken, wrapped)
  }
}
