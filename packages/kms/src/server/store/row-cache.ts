import type { Known } from './row-guard.ts'
import type { Stamp } from './schema.ts'

/** Most rows that are kept. */
const MAX_ROWS = 20_000

/** What a cache comes to. */
export interface CacheFigures {
  readonly rows: number
  readonly hits: number
  readonly misses: number
}

/**
 * Rows that were proven, for as long as they stand. A row is given out only while the store's set of
 * rows says that it is still the present one, so that nobody has to remember to take it out.
 */
export class RowCache {
  readonly #rows = new Map<string, Stamp>()
  #hits = 0
  #misses = 0

  /** How many rows are kept, and how often one was asked for that was, or was not. */
  get figures(): CacheFigures {
    return { rows: this.#rows.size, hits: this.#hits, misses: this.#misses }
  }

  /** The row that `known` says is the present one. */
  get(key: string, known: Known | undefined): Stamp | undefined {
    const row = this.#rows.get(key)
    if (row !== undefined && row.mac === known?.mac && row.row_version === known.version) {
      this.#hits++
      return row
    }
    this.#misses++
    if (row !== undefined) this.#rows.delete(key)
    return undefined
  }

  /** Forgets a row that was deleted, and what was opened of it: material of keys above all. */
  forget(key: string): void {
    this.#rows.delete(key)
  }

  /** Keeps a proven row; the one kept longest makes room. */
  keep(key: string, row: Stamp): void {
    this.#rows.delete(key)
    this.#rows.set(key, Object.freeze(row))
    if (this.#rows.size <= MAX_ROWS) return
    const [oldest] = this.#rows.keys()
    if (oldest !== undefined) this.#rows.delete(oldest)
  }
}
