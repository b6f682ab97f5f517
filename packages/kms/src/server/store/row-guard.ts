import { StoreError } from './errors.ts'
import { type RowKeys, sameMac } from './row-keys.ts'
import type { Columns, JsonValue, Stamp, TrackedTable } from './schema.ts'

/** A tracked row's version and MAC. */
export interface Known {
  readonly version: number
  readonly mac: string
}

/** Names a tracked row. */
export const knownKey = (table: TrackedTable, id: string): string => `${table}/${id}`

/** The error for a row that is not as it was left. */
export const rowError = (table: string, id: string, what: string): StoreError =>
  new StoreError('ROW_MAC', `row ${id} of table ${table} ${what}`)

/** The columns that a row's MAC covers. @throws StoreError ROW_MAC for values that we never write */
export function columnsOf(row: object): Record<string, JsonValue> {
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
    return new RowGuard(this.#keys, key => this.known(key))
  }

  /** Takes over the changes of a nested guard, whose part of the transaction stays. */
  absorb(part: RowGuard): void {
    for (const [key, change] of part.changes) this.#changes.set(key, change)
  }

  /** Whether the row exists, by what the store remembers and not by what the database says. */
  has(table: TrackedTable, id: string): boolean {
    return this.find(table, id) !== undefined
  }

  /** A row's version and MAC, by what the store remembers; undefined where there should be none. */
  find(table: TrackedTable, id: string): Known | undefined {
    return this.known(knownKey(table, id))
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
    const known = this.find(table, id)
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
    const version = (this.find(table, id)?.version ?? 0) + 1
    const mac = this.#keys.rowMac(table, id, version, columnsOf(columns))
    const known: Known = { version, mac: Buffer.from(mac).toString('base64url') }
    this.#changes.set(knownKey(table, id), known)
    return { row_version: known.version, mac: known.mac }
  }

  /** Notes that a row is about to be deleted. */
  remove(table: TrackedTable, id: string): void {
    this.#changes.set(knownKey(table, id), null)
  }

  /** Whether a row once stood with these columns, by the version and MAC that it then had. */
  stood(table: TrackedTable, id: string, then: Known, columns: Record<string, JsonValue>): boolean {
    return sameMac(then.mac, this.#keys.rowMac(table, id, then.version, columns))
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

  /** A row's version and MAC, under its {@link knownKey}; undefined where there should be none. */
  known(key: string): Known | undefined {
    const change = this.#changes.get(key)
    return change === null ? undefined : (change ?? this.#committed(key))
  }
}
