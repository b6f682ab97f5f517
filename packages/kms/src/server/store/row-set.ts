import type { StoredState } from './database.ts'
import { StoreError } from './errors.ts'
import { columnsOf, type Known, knownKey, RowGuard, rowError } from './row-guard.ts'
import { type RowKeys, sameMac } from './row-keys.ts'
import { TRACKED, type TrackedTable } from './schema.ts'

const MAC_LENGTH = 32

/** Rows written (their new version) and removed (null), by table and id. */
export type Changes = ReadonlyMap<string, Known | null>

/** Where a set of rows stands. */
export interface Place {
  readonly epoch: number
  readonly digest: Uint8Array
  /** MAC over the two. */
  readonly mac: string
}

/** What the store holds, as last committed: each tracked row's version and MAC, and their digest. */
export class RowSet {
  readonly keys: RowKeys
  readonly #known = new Map<string, Known>()
  #place: Place

  constructor(keys: RowKeys) {
    this.keys = keys
    this.#place = placeOf(keys, 0, new Uint8Array(MAC_LENGTH))
  }

  /** How many tracked rows there are. */
  get size(): number {
    return this.#known.size
  }

  /** Where it stands. */
  get place(): Place {
    return this.#place
  }

  /** A tracked row's version and MAC. */
  known(key: string): Known | undefined {
    return this.#known.get(key)
  }

  /** Ids of a table's rows. */
  ids(table: TrackedTable): readonly string[] {
    const prefix = knownKey(table, '')
    const keys = [...this.#known.keys()].filter(key => key.startsWith(prefix))
    return keys.map(key => key.slice(prefix.length))
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
    const { digest, epoch } = this.#place
    this.#place = { epoch, digest: xor(digest, this.keys.member(mac)), mac: '' }
  }

  /** Compares the loaded rows with the stored state. @throws StoreError ROW_MAC */
  finishLoading({ epoch, mac }: StoredState): void {
    const { digest } = this.#place
    if (!sameMac(mac, this.keys.stateMac(epoch, digest))) {
      throw new StoreError(
        'ROW_MAC',
        'the rows are not all there, or not all of the same time: the database was edited',
      )
    }
    this.#place = { epoch, digest, mac }
  }

  /** Whether the stored state is that of this set. */
  isAt({ epoch, mac }: StoredState): boolean {
    return epoch === this.#place.epoch && mac === this.#place.mac
  }

  /** A view for one transaction. */
  begin(): RowGuard {
    return new RowGuard(this.keys, key => this.#known.get(key))
  }

  /** Where changes lead to. */
  after(...transactions: readonly Changes[]): Place {
    let { digest } = this.#place
    const seen = new Map<string, Known | null>()
    for (const changes of transactions) {
      for (const [key, change] of changes) {
        const before = seen.has(key) ? seen.get(key) : this.#known.get(key)
        if (before) digest = xor(digest, this.keys.member(before.mac))
        if (change !== null) digest = xor(digest, this.keys.member(change.mac))
        seen.set(key, change)
      }
    }
    return placeOf(this.keys, this.#place.epoch + transactions.length, digest)
  }

  /** Takes over what one transaction committed, whose changes lead to `place`. */
  commit(changes: Changes, place: Place): void {
    this.#place = place
    this.#take(changes)
  }

  /**
   * Takes over what transactions of others committed, in their order, if the stored state vouches for
   * what they lead to.
   * @throws StoreError ROW_MAC
   */
  follow(changes: readonly Changes[], state: StoredState): void {
    const place = this.after(...changes)
    if (place.epoch !== state.epoch || place.mac !== state.mac) {
      throw new StoreError(
        'ROW_MAC',
        'what other replicas changed does not lead to where the database stands: it was edited, or is another',
      )
    }
    this.#place = place
    for (const change of changes) this.#take(change)
  }

  #take(changes: Changes): void {
    for (const [key, change] of changes) {
      if (change === null) this.#known.delete(key)
      else this.#known.set(key, change)
    }
  }
}

function placeOf(keys: RowKeys, epoch: number, digest: Uint8Array): Place {
  return { epoch, digest, mac: Buffer.from(keys.stateMac(epoch, digest)).toString('base64url') }
}

function xor(left: Uint8Array, right: Uint8Array): Uint8Array {
  return left.map((byte, index) => byte ^ (right[index] ?? 0))
}
