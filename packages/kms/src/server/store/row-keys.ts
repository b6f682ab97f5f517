import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { canonicalJson } from '@cloister/sealed'
import type { RootKey } from '../root/index.ts'
import { ADDED, type JsonValue } from './schema.ts'

const ROW_LABEL = 'cloister kms row v1'
const STATE_LABEL = 'cloister kms store state v1'
const CHANGES_LABEL = 'cloister kms store changes v1'

function lengthPrefixed(text: string): Uint8Array[] {
  const bytes = Buffer.from(text, 'utf8')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return [length, bytes]
}

function u64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

function derivedKey(root: RootKey, purpose: 'row-mac' | 'row-set' | 'root-check'): KeyObject {
  const secret = root.derive(purpose)
  const key = secret.with(bytes => createSecretKey(bytes))
  secret.dispose()
  return key
}

/** Compares a stored MAC with the one that it must be, in constant time. */
export function sameMac(seen: string, wanted: Uint8Array): boolean {
  const bytes = Buffer.from(seen, 'base64url')
  return bytes.length === wanted.length && timingSafeEqual(bytes, wanted)
}

/** The keyed functions over rows: a row's MAC, and the digest over the set of all tracked rows. */
export class RowKeys {
  readonly #mac: KeyObject
  readonly #set: KeyObject
  readonly #check: KeyObject

  constructor(root: RootKey) {
    this.#mac = derivedKey(root, 'row-mac')
    this.#set = derivedKey(root, 'row-set')
    this.#check = derivedKey(root, 'root-check')
  }

  /** A value that tells whether a database belongs to this root key. */
  rootCheck(): string {
    return createHmac('sha256', this.#check).update(STATE_LABEL).digest('base64url')
  }

  /** MAC over table, id, row version and the RFC 8785 JSON of the columns; see {@link ADDED}. */
  rowMac(
    table: string,
    id: string,
    version: number,
    columns: Readonly<Record<string, JsonValue>>,
  ): Uint8Array {
    const mac = createHmac('sha256', this.#mac)
    for (const part of [ROW_LABEL, table, id].flatMap(lengthPrefixed)) mac.update(part)
    mac.update(u64(version))
    for (const part of lengthPrefixed(canonicalJson(macedColumns(table, columns)))) mac.update(part)
    return mac.digest()
  }

  /**
   * What a row adds to the set's digest. Never stored, so that whoever holds many old rows cannot
   * look for a set of them with the digest of the present one.
   */
  member(mac: string): Uint8Array {
    return createHmac('sha256', this.#set).update('member').update(mac).digest()
  }

  /** MAC over what one transaction changed, as it stands in the change feed. */
  changesMac(epoch: number, changes: string): Uint8Array {
    const mac = createHmac('sha256', this.#set).update(CHANGES_LABEL).update(u64(epoch))
    for (const part of lengthPrefixed(changes)) mac.update(part)
    return mac.digest()
  }

  /** MAC over the state of the whole store. */
  stateMac(epoch: number, digest: Uint8Array): Uint8Array {
    const mac = createHmac('sha256', this.#set).update(STATE_LABEL).update(u64(epoch))
    return mac.update(digest).digest()
  }
}

function macedColumns(table: string, columns: Readonly<Record<string, JsonValue>>): JsonValue {
  const added = ADDED[table]
  if (added === undefined) return columns
  const isThere = ([name, value]: [string, JsonValue]) => value !== null || !added.includes(name)
  return Object.fromEntries(Object.entries(columns).filter(isThere))
}
