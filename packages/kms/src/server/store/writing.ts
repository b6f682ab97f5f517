import type { Kysely } from 'kysely'
import type { Database } from './database.ts'
import type { QueryOutcome } from './dialect.ts'
import { StoreError } from './errors.ts'
import type { RowCache } from './row-cache.ts'
import type { RowGuard } from './row-guard.ts'
import type { Schema } from './schema.ts'
import type { RowStatements, Statement } from './statements.ts'
import { type StoreTransaction, WritingTransaction } from './transaction.ts'

const SAVEPOINT = { sql: 'savepoint one_write', parameters: [] }
const ROLLBACK_TO = { sql: 'rollback to one_write', parameters: [] }
const RELEASE = { sql: 'release one_write', parameters: [] }

/** What a write works with. */
export interface WritePlace {
  readonly db: Kysely<Schema>
  /** The transaction's; takes over what the write changed. */
  readonly guard: RowGuard
  readonly cache: RowCache
  readonly rows: RowStatements
}

/** One of the writes that share a transaction. */
interface Member {
  /** What it wrote and is not sent yet. */
  readonly pending: Statement[]
  /** Whether it can be taken back apart from the others. */
  hasSavepoint: boolean
}

/**
 * One transaction, of one write or of several one after the other. What a write needs no answer to is
 * held back until it asks something, or until the commit: many a write is one message to the database.
 */
export class Writing {
  readonly #database: Database
  readonly #isOfSeveral: boolean
  readonly #begin: () => Promise<void>
  readonly #pending: Statement[] = []
  readonly #sent: Promise<void>[] = []
  #begun: Promise<void> | undefined
  #member: Member | undefined

  /** @param begin - Begins the transaction in the database. */
  constructor(database: Database, isOfSeveral: boolean, begin: () => Promise<void>) {
    this.#database = database
    this.#isOfSeveral = isOfSeveral
    this.#begin = begin
  }

  /** Begins the transaction in the database, unless it was. */
  async begin(): Promise<void> {
    this.#begun ??= this.#begin()
    await this.#begun
  }

  /** Runs a statement of the write at hand. */
  async query(sql: string, parameters: readonly unknown[]): Promise<QueryOutcome> {
    await this.begin()
    this.#send()
    return await this.#database.run(sql, parameters)
  }

  /**
   * Does a write. When it throws anything but a StoreError, and there are several, nothing of it stays
   * and those before it do; else the whole transaction is over.
   */
  async run<T>(place: WritePlace, work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    const { guard } = place
    const own = guard.nested()
    const member: Member = { pending: [], hasSavepoint: false }
    this.#member = member
    const later = (statement: Statement) => void member.pending.push(statement)
    try {
      const value = await work(new WritingTransaction({ ...place, guard: own, later }))
      guard.absorb(own)
      this.#pending.push(...member.pending, ...(member.hasSavepoint ? [RELEASE] : []))
      return value
    } catch (error) {
      if (member.hasSavepoint) this.#pending.push(ROLLBACK_TO, RELEASE)
      throw error
    } finally {
      this.#member = undefined
    }
  }

  /**
   * Ends the transaction with its changes on disk.
   * @param last - What is written beside
   * @param state - Moves the state row on; undefined where nothing that is tracked was changed
   * @throws StoreError OUTCOME and others, as {@link Database.commit} does
   */
  async commit(last: readonly Statement[], state: Statement | undefined): Promise<void> {
    const statements = [...this.#pending, ...last]
    const isBegun = this.#begun !== undefined
    if (!isBegun && statements.length === 0 && state === undefined) return
    // Also where the work went on although its beginning had failed.
    await this.#begun
    try {
      await this.#database.commit({ isBegun, statements, state })
    } catch (error) {
      if (error instanceof StoreError && error.code === 'OUTCOME') throw error
      // What failed first says more than that the commit did.
      await Promise.all(this.#sent)
      throw error
    }
  }

  /** Ends the transaction without its changes. */
  async rollback(): Promise<void> {
    if (this.#begun === undefined) return
    await this.#begun.catch(() => undefined)
    await this.#database.rollback()
  }

  #send(): void {
    const member = this.#member
    const statements = this.#pending.splice(0)
    if (member !== undefined) {
      if (this.#isOfSeveral && !member.hasSavepoint) {
        member.hasSavepoint = true
        statements.push(SAVEPOINT)
      }
      statements.push(...member.pending.splice(0))
    }
    if (statements.length === 0) return
    const sent = this.#database.send(statements)
    // Told at the commit, which fails too.
    sent.catch(() => undefined)
    this.#sent.push(sent)
  }
}
