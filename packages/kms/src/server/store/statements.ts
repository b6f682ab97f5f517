import type { CompiledQuery, Kysely } from 'kysely'
import type { StoredState } from './database.ts'
import { type Schema, TRACKED, type TrackedTable } from './schema.ts'
import { asSqlValue, type SqlValue } from './sql-value.ts'

/** Id of the one state row. */
export const STATE_ID = 1

/** Where the store stands, as its state row says. */
type StatePlace = Pick<StoredState, 'epoch' | 'mac'>

/** A statement and what it is run with. */
export interface Statement {
  readonly sql: string
  readonly parameters: readonly SqlValue[]
}

/** A statement as Kysely compiled it. @throws StoreError SQL for values that no table of ours holds */
export function statementFrom({ parameters, sql }: CompiledQuery): Statement {
  return { sql, parameters: parameters.map(asSqlValue) }
}

/**
 * Statements that write one row, whose text is made once for each table: what every request waits for
 * is spared the building of it.
 */
export class RowStatements {
  readonly #db: Kysely<Schema>
  readonly #texts = new Map<string, string>()

  /** @param db - Knows the database's dialect. */
  constructor(db: Kysely<Schema>) {
    this.#db = db
  }

  /** Inserts a row. */
  insert<T extends keyof Schema>(table: T, row: Schema[T]): Statement {
    const names = Object.keys(row)
    const sql = this.#text(`insert ${table} ${names.join()}`, () =>
      // The row's type is the table's; Kysely's own, made of it, is too deep for the compiler here.
      this.#db
        .insertInto(table)
        .values(row as never)
        .compile(),
    )
    return { sql, parameters: valuesOf(row) }
  }

  /** Inserts a row, or puts it in the place of the one of its id. */
  upsert<T extends TrackedTable>(table: T, row: Schema[T]): Statement {
    const names = Object.keys(row)
    const sql = this.#text(`upsert ${table} ${names.join()}`, () =>
      this.#db
        .insertInto(table)
        .values(row as never)
        .onConflict(conflict => conflict.column(TRACKED[table] as never).doUpdateSet(row as never))
        .compile(),
    )
    const values = valuesOf(row)
    return { sql, parameters: [...values, ...values] }
  }

  /** Moves the state row on from where it stands. */
  moveState(from: StatePlace, to: StatePlace): Statement {
    const sql = this.#text('move state', () =>
      this.#db
        .updateTable('store_state')
        .set({ epoch: to.epoch, mac: to.mac })
        .where('id', '=', STATE_ID)
        .where('epoch', '=', from.epoch)
        .where('mac', '=', from.mac)
        .compile(),
    )
    return { sql, parameters: [to.epoch, to.mac, STATE_ID, from.epoch, from.mac] }
  }

  #text(name: string, make: () => CompiledQuery): string {
    const known = this.#texts.get(name)
    if (known !== undefined) return known
    const { sql } = make()
    this.#texts.set(name, sql)
    return sql
  }
}

const valuesOf = (row: object): readonly SqlValue[] =>
  Object.values<unknown>({ ...row }).map(asSqlValue)
