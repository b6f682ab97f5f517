import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { canonicalJson } from '@cloister/sealed'
import type { RootKey } from '../root/index.ts'
import { StoreError } from './errors.ts'
import {
  ADDED,
  type Columns,
  type JsonValue,
  type Stamp,
  TRACKED,
  type TrackedTable,
} from './schema.ts'

const ROW_LABEL = 'cloister kms row v1'
const STATE_LABEL = 'cloister kms store state v1'
const MAC_LENGTH = 32

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

function sameMac(seen: string, wanted: Uint8Array): boolean {
  const bytes = Buffer.from(seen, 'base64url')
  return bytes.length === wanted.length && timingSafeEqual(bytes, wanted)
}

const rowError = (table: string, id: string, what: string): StoreError =>
  new StoreError('ROW_MAC', `row ${id} of table ${table} ${what}`)

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

interface Known {
  readonly version: number
  readonly mac: string
}

const knownKey = (table: TrackedTable, id: string): string => `${table}/${id}`

function columnsOf(row: object): Record<string, JsonValue> {
  const columns: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries<unknown>({ ...row })) {
    if (name === 'mac' || name === 'row_version') continue
    if (value !== null && typeof value !== 'string' && typeof value !== 'number') {
      throw new StoreError('ROW_MAC', `column ${name} has a value of type ${typeof value}`)
    }
    columns[name] = value
  }
  return columns
}

/** What the store holds, as last committed: each tracked row's version and MAC, and their digest. */
export class RowSet {
  readonly keys: RowKeys
  readonly #known = new Map<string, Known>()
  #digest: Uint8Array = new Uint8Array(MAC_LENGTH)
  #epoch = 0

  constructor(keys: RowKeys) {
    this.keys = keys
  }

  /** How many tracked rows there are. */
  get size(): number {
    return this.#known.size
  }

  /** Adds a row read at start. @throws StoreError ROW_MAC */
  load(table: TrackedTable, row: Record<string, unknown>): void {
    const { mac, row_version: version } = row
    const id = String(row[TRACKED[table]])
    if (typeof mac !== 'string' || typeof version !== 'number')
      throw rowError(table, id, 'has no MAC')
    if (!sameMac(mac, this.keys.rowMac(table, id, version, columnsOf(row)))) {
      throw rowError(table, id, 'is not as this KMS wrote it')
    }
    this.#known.set(knownKey(table, id), { version, mac })
    this.#digest = xor(this.#digest, this.keys.member(mac))
  }

  /** Compares the loaded rows with the stored state. @throws StoreError ROW_MAC */
  finishLoading(state: { readonly epoch: number; readonly mac: string } | undefined): void {
    if (state === undefined) {
      if (this.#known.size === 0) return
      throw new StoreError('ROW_MAC', 'the database has rows, and its state row is missing')
    }
    if (!sameMac(state.mac, this.keys.stateMac(state.epoch, this.#digest))) {
      throw new StoreError(
        'ROW_MAC',
        'the rows are not all there, or not all of the same time: the database was edited',
      )
    }
    this.#epoch = state.epoch
  }

  /** A view for one transaction. */
  begin(): RowGuard {
    return new RowGuard(this.keys, key => this.#known.get(key))
  }

  /** The state row that `guard`'s changes lead to. */
  stateAfter(guard: RowGuard): { readonly epoch: number; readonly mac: string } {
    const { epoch, digest } = this.#after(guard)
    return { epoch, mac: Buffer.from(this.keys.stateMac(epoch, digest)).toString('base64url') }
  }

  /** Takes over what `guard`'s transaction committed. */
  commit(guard: RowGuard): void {
    const { epoch, digest } = this.#after(guard)
    for (const [key, change] of guard.changes) {
      if (change === null) this.#known.delete(key)
      else this.#known.set(key, change)
    }
    this.#epoch = epoch
    this.#digest = digest
  }

  #after(guard: RowGuard): { readonly epoch: number; readonly digest: Uint8Array } {
    let digest = this.#digest
    for (const [key, change] of guard.changes) {
      const before = this.#known.get(key)
      if (before !== undefined) digest = xor(digest, this.keys.member(before.mac))
      if (change !== null) digest = xor(digest, this.keys.member(change.mac))
    }
    return { epoch: this.#epoch + 1, digest }
  }
}

function xor(left: Uint8Array, right: Uint8Array): Uint8Array {
  return left.map((byte, index) => byte ^ (right[index] ?? 0))
}

/**
 * Proves the rows of one transaction: everything read goes through {@link RowGuard.proven},
 * everything written is stamped.
 */
export class RowGuard {
  readonly #keys: RowKeys
  readonly #committed: (key: string) => Known | undefined
  readonly #changes = new Map<string, Known | null>()

  constructor(keys: RowKeys, committed: (key: string) => Known | undefined) {
    this.#keys = keys
    this.#committed = committed
  }

  /** Rows written (their new version) and removed (null) so far. */
  get changes(): ReadonlyMap<string, Known | null> {
    return this.#changes
  }

  /** A guard for a part of the transaction that may be taken back: its changes are its own. */
  nested(): RowGuard {
    return new RowGuard(this.#keys, key => this.#known(key))
  }

  /** Takes over the changes of a nested guard, whose part of the transaction stays. */
  absorb(part: RowGuard): void {
    for (const [key, change] of part.changes) this.#changes.set(key, change)
  }

  /** Whether the row exists, by what the store remembers and not by what the database says. */
  has(table: TrackedTable, id: string): boolean {
    return this.#find(table, id) !== undefined
  }

  /**
   * Returns `row` when it is exactly what this KMS last wrote under that id, or undefined when there
   * is none and there should be none.
   * @throws StoreError ROW_MAC
   */
  proven<Row extends Stamp>(
    table: TrackedTable,
    id: string,
    row: Row | undefined,
  ): Row | undefined {
    const known = this.#find(table, id)
    if (row === undefined) {
      if (known !== undefined) throw rowError(table, id, 'was taken away')
      return undefined
    }
    if (known === undefined) throw rowError(table, id, 'was added from outside')
    const wanted = this.#keys.rowMac(table, id, known.version, columnsOf(row))
    if (row.row_version !== known.version || row.mac !== known.mac || !sameMac(row.mac, wanted)) {
      throw rowError(table, id, 'is not as this KMS last wrote it')
    }
    return row
  }

  /** Makes the stamp for a row about to be inserted or updated. */
  stamp<Row>(table: TrackedTable, id: string, columns: Columns<Row>): Stamp {
    const version = (this.#find(table, id)?.version ?? 0) + 1
    const mac = this.#keys.rowMac(table, id, version, columnsOf(columns))
    const known: Known = { version, mac: Buffer.from(mac).toString('base64url') }
    this.#changes.set(knownKey(table, id), known)
    return { row_version: known.version, mac: known.mac }
  }

  /** Notes that a row is about to be deleted. */
  remove(table: TrackedTable, id: string): void {
    this.#changes.set(knownKey(table, id), null)
  }

  /** Makes the stamp for a row of a table that is only ever appended to. */
  stampOnce(table: string, id: string, columns: Record<string, JsonValue>): Stamp {
    const mac = Buffer.from(this.#keys.rowMac(table, id, 1, columns)).toString('base64url')
    return { row_version: 1, mac }
  }

  /** Checks a row that {@link RowGuard.stampOnce} stamped. @throws StoreError ROW_MAC */
  provenOnce<Row extends Stamp>(table: string, id: string, row: Row): Row {
    const wanted = this.#keys.rowMac(table, id, 1, columnsOf(row))
    if (row.row_version !== 1 || !sameMac(row.mac, wanted)) {
      throw rowError(table, id, 'is not as this KMS wrote it')
    }
    return row
  }

  #find(table: TrackedTable, id: string): Known | undefined {
    return this.#known(knownKey(table, id))
  }

  #known(key: string): Known | undefined {
    const change = this.#changes.get(key)
    return change === null ? undefined : (change ?? this.#committed(key))
  }
}
