import type { Kysely } from 'kysely'
import { RootChange, type RootKey } from '../root/index.ts'
import { entryRow, FEED_LENGTH, newEntry, pruneFeed, readEntries } from './change-feed.ts'
import type { Database, StoredState } from './database.ts'
import { kyselyOver } from './dialect.ts'
import { StoreError } from './errors.ts'
import { MAX_GROUP, type PendingWrite, pendingWrite, runTogether } from './group.ts'
import { loadRows, requireRoot } from './load-rows.ts'
import { Mutex } from './mutex.ts'
import { Nesting } from './nesting.ts'
import { type Rekeys, rekeyRows } from './rekey.ts'
import { type CacheFigures, RowCache } from './row-cache.ts'
import { type Known, knownKey, RowGuard } from './row-guard.ts'
import { RowKeys } from './row-keys.ts'
import type { Changes, RowSet } from './row-set.ts'
import type { Schema, TrackedTable } from './schema.ts'
import { RowStatements, STATE_ID, statementFrom } from './statements.ts'
import {
  type FindableTable,
  keptRow,
  ReadingTransaction,
  STALENESS_MS,
  type StoreTransaction,
} from './transaction.ts'
import { type WritePlace, Writing } from './writing.ts'

/** How often a transaction is tried that left nothing behind and may succeed another time. */
const MAX_ATTEMPTS = 3

/** How long it is tried to find out what became of a commit when the connection was lost. */
const SETTLE_MS = 10_000
const SETTLE_PAUSE_MS = 250

/** For how long whoever asks waits for its turn: longer than any one transaction may take. */
const PATIENCE_MS = 60_000

/** After which a replica takes itself for the only one that writes, until it finds that it is not. */
const ALONE_AFTER_MS = 1000

/** How often a replica that has nothing to do looks at what others did. */
const POLL_MS = STALENESS_MS / 4

/** How often it does so however much it has to do: writes tell it nothing of the time. */
const LOOK_MS = 10_000

/** What is wrong with the database or the way to it, and would be with every other write. */
const OF_DATABASE: ReadonlySet<string> = new Set([
  'ROLLED_BACK',
  'WRONG_ROOT_KEY',
  'LOCKED',
  'CLOSED',
  'WORKER',
  'CONNECTION',
  'OUTCOME',
  'BUSY',
])

/** What may pass while it is tried to find out what became of a commit. */
const MAY_SETTLE: ReadonlySet<string> = new Set(['CONNECTION', 'BUSY', 'OUTCOME'])

const codeOf = (error: unknown): string | undefined =>
  error instanceof StoreError ? error.code : undefined

/** Checks that what is stored goes on where this process saw it last. */
export type Continuity = (
  tx: StoreTransaction,
  /** How this process last knew a row. */
  before: (table: TrackedTable, id: string) => Known | undefined,
) => Promise<void>

/** The KMS's database. */
export class Store {
  readonly #database: Database
  readonly #db: Kysely<Schema>
  #rows: RowSet
  #cache = new RowCache()
  /** The transaction that writes, while there is one. */
  #writing: Writing | undefined
  readonly #writingDb: Kysely<Schema>
  readonly #statements: RowStatements
  readonly #watchers: (readonly [TrackedTable, (ids: readonly string[]) => void])[] = []
  #continuity: Continuity | undefined
  readonly #mutex = new Mutex(PATIENCE_MS)
  readonly #nesting = new Nesting()
  #waiting: PendingWrite[] = []
  /** Until when the rows known are the database's, or as good as. */
  #freshUntil = Number.POSITIVE_INFINITY
  readonly #feedLength: number
  /** When others were last found to have written. */
  #othersSeenAt = Number.NEGATIVE_INFINITY
  /** When a transaction that reads was last begun. */
  #lookedAt = Number.NEGATIVE_INFINITY
  readonly #polling: NodeJS.Timeout | undefined
  #timed: (kind: 'read' | 'write', milliseconds: number) => void = () => {}
  #isPolling = false
  #closed = false

  constructor(database: Database, db: Kysely<Schema>, rows: RowSet, feedLength = FEED_LENGTH) {
    this.#database = database
    this.#feedLength = feedLength
    this.#db = db
    this.#rows = rows
    this.#statements = new RowStatements(db)
    this.#writingDb = kyselyOver(database.dialect, async (sql, parameters) => {
      if (this.#writing === undefined) throw new StoreError('SQL', 'the transaction is over')
      return await this.#writing.query(sql, parameters)
    })
    if (!database.isShared) return
    this.#freshUntil = Number.NEGATIVE_INFINITY
    this.#polling = setInterval(() => this.#poll(), POLL_MS).unref()
  }

  /** Whether other replicas may use the database too. */
  get isShared(): boolean {
    return this.#database.isShared
  }

  /** The time, by the clock that all share who share the database. @throws StoreError CLOCK */
  now(): Date {
    return this.#database.now()
  }

  /**
   * Runs `work` with nothing else between its reads and writes, and resolves when its changes are on
   * disk. When it throws, nothing of it stays. Writes that wait for the disk share the next commit; if
   * that fails, each is run again by itself, so `work` changes nothing but the database.
   * @throws StoreError, and whatever `work` throws
   */
  async write<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    this.#nesting.assertOutside()
    const askedAt = performance.now()
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#waiting.push(pendingWrite(work, resolve, reject))
        if (this.#waiting.length === 1) this.#writeWaiting()
      })
    } finally {
      this.#timed('write', performance.now() - askedAt)
    }
  }

  /** Has the writes that wait, and those that will until it is their turn, run together. */
  #writeWaiting(): void {
    this.#nesting.outside(() => {
      this.#alone(() => this.#writeGroup()).catch((error: unknown) => {
        for (const { reject } of this.#waiting.splice(0)) reject(error)
      })
    })
  }

  async #writeGroup(): Promise<void> {
    const group = this.#waiting.splice(0, MAX_GROUP)
    if (this.#waiting.length > 0) this.#writeWaiting()
    if (group.length > 1 && (await this.#committed(group))) return
    for (const write of group) await this.#committed([write])
  }

  /** Runs writes in one transaction and settles them; false when they are to be run one by one. */
  async #committed(group: readonly PendingWrite[]): Promise<boolean> {
    try {
      const settle = await this.#changing(group.length > 1, (writing, place) =>
        runTogether(writing, place, group),
      )
      for (const tell of settle) tell()
      return true
    } catch (error) {
      if (group.length > 1 && !OF_DATABASE.has(codeOf(error) ?? '')) return false
      for (const { reject } of group) reject(error)
      return true
    }
  }

  /** A transaction that writes, tried again when it left nothing behind and may succeed then. */
  async #changing<T>(
    isOfSeveral: boolean,
    work: (writing: Writing, place: WritePlace) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#changingOnce(isOfSeveral, attempt === 1, work)
      } catch (error) {
        const mayRetry = codeOf(error) === 'CONNECTION' || codeOf(error) === 'CONFLICT'
        if (!mayRetry || attempt === MAX_ATTEMPTS) throw error
      }
    }
  }

  async #changingOnce<T>(
    isOfSeveral: boolean,
    isFirst: boolean,
    work: (writing: Writing, place: WritePlace) => Promise<T>,
  ): Promise<T> {
    // Where others write just now, what they did comes first; else the commit tells whether they did.
    const mayBeAlone = isFirst && performance.now() - this.#othersSeenAt > ALONE_AFTER_MS
    const isEager = this.#database.isShared && !mayBeAlone
    if (isEager) await this.#begin('write')
    const rows = this.#rows
    const { epoch } = rows.place
    const writing = new Writing(this.#database, isOfSeveral, async () => {
      if (isEager) return
      await this.#begin('write')
      // What was done so far went by what was known before.
      if (this.#rows !== rows || rows.place.epoch !== epoch) throw moved()
    })
    if (isEager) await writing.begin()
    this.#writing = writing
    try {
      const guard = this.#rows.begin()
      const place = { db: this.#writingDb, guard, cache: this.#cache, rows: this.#statements }
      const value = await work(writing, place)
      await this.#commit(writing, guard.changes)
      return value
    } catch (error) {
      try {
        // A refusal, too, must be one by the present state.
        if (this.#database.isShared && !(error instanceof StoreError)) await writing.begin()
      } finally {
        await writing.rollback()
      }
      throw error
    } finally {
      this.#writing = undefined
    }
  }

  async #commit(writing: Writing, changes: Changes): Promise<void> {
    if (changes.size === 0) {
      // Also that there is nothing to change must be true now, and not of a while ago.
      if (this.#database.isShared) await writing.begin()
      return await writing.commit([], undefined)
    }
    const rows = this.#rows
    const place = rows.after(changes)
    const entry = newEntry(changes)
    const feed = this.#database.isShared
      ? [this.#statements.insert('store_changes', entryRow(rows.keys, place.epoch, entry))]
      : []
    const askedAt = performance.now()
    try {
      await writing.commit(feed, this.#statements.moveState(rows.place, place))
      // The state row was where it had to be.
      if (this.#database.isShared) this.#freshUntil = askedAt + STALENESS_MS
    } catch (error) {
      if (codeOf(error) !== 'OUTCOME') throw error
      if (!(await this.#wasCommitted(entry.id))) {
        throw new StoreError('CONNECTION', 'the connection was lost before a commit', {
          cause: error,
        })
      }
    }
    rows.commit(changes, place)
    this.#forgetDeleted(changes)
  }

  #forgetDeleted(changes: Changes): void {
    for (const [key, known] of changes) if (known === null) this.#cache.forget(key)
  }

  /**
   * Finds out what became of a transaction at whose commit the connection was lost. It may not have
   * reached the server yet: where the state row stands as before, it is moved on, so that what is still
   * on its way fails.
   * @throws StoreError OUTCOME where that cannot be known
   */
  async #wasCommitted(id: string): Promise<boolean> {
    const until = performance.now() + SETTLE_MS
    const before = this.#rows.place
    for (;;) {
      try {
        // Waits for the state row: then the lost connection's transaction is over, either way.
        const state = await this.#database.begin('write')
        try {
          if (state === undefined) return false
          if (this.#rows.isAt(state)) {
            await this.#moveOn()
            return false
          }
          const next = { after: before.epoch, to: before.epoch + 1, length: 1 }
          const entries = await readEntries(this.#db, this.#rows.keys, next)
          return entries?.[0]?.id === id
        } finally {
          await this.#database.rollback()
        }
      } catch (cause) {
        if (!MAY_SETTLE.has(codeOf(cause) ?? '') || performance.now() > until) {
          throw new StoreError(
            'OUTCOME',
            'the connection was lost at a commit, and it is not known what became of it',
            { cause },
          )
        }
        await new Promise(resolve => setTimeout(resolve, SETTLE_PAUSE_MS))
      }
    }
  }

  /** Moves the state row on with nothing changed, in the transaction that was begun. */
  async #moveOn(): Promise<void> {
    const rows = this.#rows
    const nothing: Changes = new Map()
    const place = rows.after(nothing)
    const entry = entryRow(rows.keys, place.epoch, newEntry(nothing))
    await this.#database.commit({
      isBegun: true,
      statements: [this.#statements.insert('store_changes', entry)],
      state: this.#statements.moveState(rows.place, place),
    })
    rows.commit(nothing, place)
  }

  /**
   * Runs `work`, which only reads, with all it reads of one time. Rows that it finds by their ids may
   * be as old as {@link STALENESS_MS}, and the database is asked only where they are not at hand.
   * @throws StoreError, and whatever `work` throws
   */
  async read<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    this.#nesting.assertOutside()
    if (this.#closed) throw closed()
    const askedAt = performance.now()
    return await this.#nesting.inside(async () => {
      let begun: Promise<() => void> | undefined
      const begin = () => {
        begun ??= this.#beginReading()
        return begun
      }
      const connect = () =>
        kyselyOver(this.#database.dialect, async (sql, parameters) => {
          await begin()
          return await this.#database.run(sql, parameters)
        })
      const { keys } = this.#rows
      const guard = new RowGuard(keys, key => this.#rows.known(key))
      try {
        if (performance.now() > this.#freshUntil) await begin()
        const value = await work(new ReadingTransaction(guard, this.#cache, connect))
        if (guard.changes.size === 0) return value
        throw new StoreError('SQL', 'a transaction that only reads was made to write')
      } finally {
        if (begun !== undefined) {
          await this.#endReading(begun)
          this.#timed('read', performance.now() - askedAt)
        }
      }
    })
  }

  async #endReading(begun: Promise<() => void>): Promise<void> {
    const release = await begun.catch(() => undefined)
    if (release === undefined) return
    try {
      await this.#database.rollback()
    } finally {
      release()
    }
  }

  /**
   * A row of an id that is at hand and stands, as {@link StoreTransaction.find} would give it in a read,
   * and at once; undefined where it must be asked for.
   */
  kept<T extends FindableTable>(table: T, id: string): Schema[T] | undefined {
    if (performance.now() > this.#freshUntil) return undefined
    return keptRow(this.#rows, this.#cache, table, id)
  }

  /** Begins a transaction that reads, alone; gives what lets the next one in. */
  async #beginReading(): Promise<() => void> {
    const release = await this.#turn()
    try {
      await this.#begin('read')
      return release
    } catch (error) {
      release()
      throw error
    }
  }

  /**
   * Calls `changed` with the ids of a table's rows that other replicas changed, before anything is done
   * with them. It must not ask the store for anything until it has returned.
   */
  watch(table: TrackedTable, changed: (ids: readonly string[]) => void): void {
    this.#watchers.push([table, changed])
  }

  /** Has `timed` told how long each transaction took, its waiting included; of reads those that ask the database. */
  time(timed: (kind: 'read' | 'write', milliseconds: number) => void): void {
    this.#timed = timed
  }

  /** Transactions that wait to write, and the rows in memory. */
  get figures(): CacheFigures & { readonly writesWaiting: number } {
    return { ...this.#cache.figures, writesWaiting: this.#waiting.length }
  }

  /** Has `continuity` judge a database that went on for so long without this replica that its steps are not known. */
  demand(continuity: Continuity): void {
    this.#continuity = continuity
  }

  /** Takes away what replicas need no longer tell each other. */
  async prune(): Promise<void> {
    if (!this.#database.isShared) return
    const length = this.#feedLength
    await this.write(({ db }) => pruneFeed(db, { epoch: this.#rows.place.epoch, length }))
  }

  /**
   * Puts all that is stored under another root key, in one transaction: when this resolves the
   * database belongs to `to`, and when it throws, to `from` as before. What was opened under `from`
   * no longer serves.
   * @param last - Runs at the end of the transaction, under the new root key
   * @throws StoreError; RootKeyError UNWRAP
   */
  async rekey(
    { from, rekeys, to }: { readonly from: RootKey; readonly rekeys: Rekeys; readonly to: RootKey },
    last: (tx: StoreTransaction) => Promise<void>,
  ): Promise<void> {
    await this.#alone(async () => {
      const writing = new Writing(this.#database, false, () => this.#begin('write'))
      this.#writing = writing
      try {
        await writing.begin()
        const db = this.#writingDb
        const keys = new RowKeys(to)
        const change = new RootChange(from, to)
        const { size } = this.#rows
        const rows = await rekeyRows({ db, guard: this.#rows.begin(), size, keys, change, rekeys })
        const guard = rows.begin()
        const cache = new RowCache()
        await writing.run({ db, guard, cache, rows: this.#statements }, last)
        const place = rows.after(guard.changes)
        const { epoch, mac } = place
        const state = { root_check: keys.rootCheck(), epoch, mac }
        const moved = db.updateTable('store_state').set(state).where('id', '=', STATE_ID)
        // Its entries were for replicas of the root key before.
        const feed = db.deleteFrom('store_changes')
        await writing.commit([statementFrom(feed.compile())], statementFrom(moved.compile()))
        rows.commit(guard.changes, place)
        this.#rows = rows
        this.#cache = cache
      } catch (error) {
        await writing.rollback()
        throw error
      } finally {
        this.#writing = undefined
      }
    })
  }

  /** Waits for what runs, then closes the database. */
  async close(): Promise<void> {
    clearInterval(this.#polling)
    await this.#mutex.run(async () => {
      if (this.#closed) return
      this.#closed = true
      await this.#database.close()
    })
  }

  /** Begins a transaction at whose beginning the rows known are those of the database. */
  async #begin(mode: 'read' | 'write'): Promise<void> {
    for (;;) {
      const askedAt = performance.now()
      const state = await this.#begun(mode)
      try {
        if (await this.#caughtUp(state)) {
          if (this.#database.isShared) this.#freshUntil = askedAt + STALENESS_MS
          if (mode === 'read') this.#lookedAt = askedAt
          return
        }
      } catch (error) {
        await this.#database.rollback()
        throw error
      }
      await this.#database.rollback()
      await this.#reload()
    }
  }

  /** A connection may have been lost long ago, and be missed only now. */
  async #begun(mode: 'read' | 'write'): Promise<StoredState | undefined> {
    try {
      return await this.#database.begin(mode)
    } catch (error) {
      if (codeOf(error) !== 'CONNECTION') throw error
      return await this.#database.begin(mode)
    }
  }

  /** Takes over what others changed; false where they do not tell any more. @throws StoreError */
  async #caughtUp(state: StoredState | undefined): Promise<boolean> {
    const rows = this.#rows
    if (state === undefined) throw new StoreError('ROW_MAC', 'the state row was taken away')
    requireRoot(state, rows.keys)
    if (rows.isAt(state)) return true
    const { epoch } = rows.place
    if (state.epoch < epoch) {
      throw new StoreError(
        'ROLLED_BACK',
        `the database stands at transaction ${state.epoch}, and this process has seen ${epoch}: an older one was put back`,
      )
    }
    if (state.epoch === epoch || !this.#database.isShared) {
      throw new StoreError('ROW_MAC', 'the state row is not as this KMS last wrote it')
    }
    const steps = { after: epoch, to: state.epoch, length: this.#feedLength }
    const entries = await readEntries(this.#db, rows.keys, steps)
    if (entries === undefined) return false
    const changes = entries.map(entry => entry.changes)
    rows.follow(changes, state)
    for (const change of changes) this.#forgetDeleted(change)
    this.#othersSeenAt = performance.now()
    this.#tellWatchers(changes)
    return true
  }

  #tellWatchers(transactions: readonly Changes[]): void {
    for (const [table, changed] of this.#watchers) {
      const prefix = knownKey(table, '')
      const ids = transactions
        .flatMap(changes => [...changes.keys()])
        .filter(key => key.startsWith(prefix))
        .map(key => key.slice(prefix.length))
      if (ids.length > 0) this.#nesting.outside(() => changed(ids))
    }
  }

  /** Reads all rows anew. @throws StoreError ROLLED_BACK */
  async #reload(): Promise<void> {
    const before = this.#rows
    const state = await this.#begun('read')
    try {
      const rows = await loadRows(this.#db, before.keys, state)
      if (rows.place.epoch < before.place.epoch) {
        throw new StoreError('ROLLED_BACK', 'an older database was put back')
      }
      const cache = new RowCache()
      const tx = new ReadingTransaction(rows.begin(), cache, () => this.#db)
      await this.#continuity?.(tx, (table, id) => before.known(knownKey(table, id)))
      this.#rows = rows
      this.#cache = cache
      this.#othersSeenAt = performance.now()
      for (const [table, changed] of this.#watchers) {
        this.#nesting.outside(() => changed(rows.ids(table)))
      }
    } finally {
      await this.#database.rollback()
    }
  }

  /** Keeps up with others while there is nothing else to do, and with the time always. */
  #poll(): void {
    const now = performance.now()
    const isUpToDate = this.#mutex.isTaken || this.#freshUntil - now > STALENESS_MS - POLL_MS
    if (this.#isPolling || (isUpToDate && now - this.#lookedAt < LOOK_MS)) return
    this.#isPolling = true
    this.#alone(async () => {
      await this.#begin('read')
      await this.#database.rollback()
    })
      // Whoever asks next is told what is wrong.
      .catch(() => undefined)
      .finally(() => {
        this.#isPolling = false
      })
  }

  async #alone<T>(task: () => Promise<T>): Promise<T> {
    this.#nesting.assertOutside()
    const release = await this.#turn()
    try {
      if (this.#closed) throw closed()
      return await this.#nesting.inside(task)
    } finally {
      release()
    }
  }

  /** Waits for one's turn at the database; gives what ends it. @throws StoreError BUSY */
  async #turn(): Promise<() => void> {
    try {
      return await this.#mutex.acquire()
    } catch (cause) {
      throw new StoreError('BUSY', 'the database is kept busy', { cause })
    }
  }
}

const moved = () => new StoreError('CONFLICT', 'others wrote meanwhile')

const closed = () => new StoreError('CLOSED', 'the database is closed')
