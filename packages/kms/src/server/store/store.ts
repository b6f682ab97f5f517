import { AsyncLocalStorage } from 'node:async_hooks'
import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { type Compilable, Kysely, sql, type Transaction } from 'kysely'
import { RootChange, type RootKey } from '../root/index.ts'
import { workerDialect } from './dialect.ts'
import { StoreError } from './errors.ts'
import { MAX_GROUP, type PendingWrite, pendingWrite, runTogether } from './group.ts'
import { migrateToLatest } from './migrations/index.ts'
import { Mutex } from './mutex.ts'
import { type Rekeys, rekeyRows } from './rekey.ts'
import { type RowGuard, RowKeys, RowSet } from './row-guard.ts'
import { type Schema, TRACKED, type TrackedTable } from './schema.ts'
import { WorkerConnection } from './worker-connection.ts'

const BUSY_TIMEOUT_MS = 5000
const STATE_ID = 1

/** One transaction: typed queries, and the guard that proves and stamps the rows. */
export interface StoreTransaction {
  readonly db: Transaction<Schema>
  readonly guard: RowGuard
}

/** The KMS's database. */
export class Store {
  readonly #db: Kysely<Schema>
  readonly #worker: WorkerConnection
  #rows: RowSet
  readonly #mutex = new Mutex()
  readonly #inside = new AsyncLocalStorage<true>()
  #waiting: PendingWrite[] = []
  #closed = false

  constructor(db: Kysely<Schema>, worker: WorkerConnection, rows: RowSet) {
    this.#db = db
    this.#worker = worker
    this.#rows = rows
  }

  /**
   * Runs `work` with nothing else between its reads and writes, and resolves when its changes are on
   * disk. When it throws, nothing of it stays. Writes that wait for the disk share the next commit; if
   * that fails, each is run again by itself, so `work` changes nothing but the database.
   * @throws StoreError SQL, ROW_MAC, CLOSED, NESTED, WORKER, and whatever `work` throws
   */
  async write<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    this.#assertOutside()
    return await new Promise<T>((resolve, reject) => {
      this.#waiting.push(pendingWrite(work, resolve, reject))
      this.#alone(() => this.#writeGroup()).catch(reject)
    })
  }

  /** Runs the writes that wait; the first of them to get its turn does so for all. */
  async #writeGroup(): Promise<void> {
    const group = this.#waiting.splice(0, MAX_GROUP)
    if (group.length > 1 && (await this.#committed(group))) return
    for (const write of group) {
      await this.#committed([write], write.reject)
    }
  }

  /** Runs writes in one transaction and settles them; false when the database refused. */
  async #committed(
    group: readonly PendingWrite[],
    refuse: (error: unknown) => void = () => undefined,
  ): Promise<boolean> {
    try {
      const guard = this.#rows.begin()
      const settle = await this.#db.transaction().execute(async db => {
        const [only, ...others] = group
        const isOne = only !== undefined && others.length === 0
        const settle = isOne ? [await only.run({ db, guard })] : await runTogether(db, guard, group)
        if (guard.changes.size > 0) {
          const state = this.#rows.stateAfter(guard)
          await db.updateTable('store_state').set(state).where('id', '=', STATE_ID).execute()
        }
        return settle
      })
      if (guard.changes.size > 0) this.#rows.commit(guard)
      for (const tell of settle) tell()
      return true
    } catch (error) {
      refuse(error)
      return false
    }
  }

  /**
   * Writes what needs nothing read first, and resolves when it is on disk. The database's thread is
   * asked once, where {@link Store.write} asks it again for each statement: what every request waits
   * for goes this way.
   * @throws StoreError SQL, CLOSED, NESTED, WORKER
   */
  async writeAtOnce(
    queriesOf: (tx: {
      readonly db: Kysely<Schema>
      readonly guard: RowGuard
    }) => readonly Compilable[],
  ): Promise<void> {
    await this.#alone(async () => {
      const guard = this.#rows.begin()
      const queries = queriesOf({ db: this.#db, guard })
      const state = this.#rows.stateAfter(guard)
      const last = this.#db.updateTable('store_state').set(state).where('id', '=', STATE_ID)
      await this.#worker.transaction([...queries, last].map(query => query.compile()))
      this.#rows.commit(guard)
    })
  }

  /**
   * Runs `work`, which only reads, alone.
   * @throws StoreError SQL, ROW_MAC, CLOSED, NESTED, WORKER, and whatever `work` throws
   */
  async read<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    return await this.#alone(async () => {
      const guard = this.#rows.begin()
      const transaction = this.#db.transaction().setAccessMode('read only')
      return await transaction.execute(async db => {
        const value = await work({ db, guard })
        if (guard.changes.size === 0) return value
        throw new StoreError('SQL', 'a transaction that only reads was made to write')
      })
    })
  }

  /**
   * Puts all that is stored under another root key, in one transaction: when this resolves the
   * database belongs to `to`, and when it throws, to `from` as before. What was opened under `from`
   * no longer serves.
   * @param last - Runs at the end of the transaction, under the new root key
   * @throws StoreError SQL, ROW_MAC, CLOSED, NESTED, WORKER; RootKeyError UNWRAP
   */
  async rekey(
    { from, rekeys, to }: { readonly from: RootKey; readonly to: RootKey; readonly rekeys: Rekeys },
    last: (tx: StoreTransaction) => Promise<void>,
  ): Promise<void> {
    await this.#alone(async () => {
      const keys = new RowKeys(to)
      const change = new RootChange(from, to)
      const { rows, guard } = await this.#db.transaction().execute(async db => {
        const { size } = this.#rows
        const before = this.#rows.begin()
        const rows = await rekeyRows({ db, guard: before, size, keys, change, rekeys })
        const guard = rows.begin()
        await last({ db, guard })
        const state = { root_check: keys.rootCheck(), ...rows.stateAfter(guard) }
        await db.updateTable('store_state').set(state).where('id', '=', STATE_ID).execute()
        return { rows, guard }
      })
      rows.commit(guard)
      this.#rows = rows
    })
  }

  /** Waits for what runs, then closes the database. */
  async close(): Promise<void> {
    await this.#mutex.run(async () => {
      if (this.#closed) return
      this.#closed = true
      await this.#db.destroy()
    })
  }

  #assertOutside(): void {
    if (this.#inside.getStore() !== true) return
    throw new StoreError('NESTED', 'a transaction was asked for inside another')
  }

  async #alone<T>(task: () => Promise<T>): Promise<T> {
    this.#assertOutside()
    return await this.#mutex.run(async () => {
      if (this.#closed) throw new StoreError('CLOSED', 'the database is closed')
      return await this.#inside.run(true, task)
    })
  }
}

async function createPrivate(path: string): Promise<void> {
  // SQLite gives its log and index files the mode of the database.
  const file = await open(path, 'a', 0o600)
  await file.close()
}

async function loadRows(db: Kysely<Schema>, root: RootKey): Promise<RowSet> {
  const rows = new RowSet(new RowKeys(root))
  const rootCheck = rows.keys.rootCheck()
  const state = await db.selectFrom('store_state').selectAll().executeTakeFirst()
  if (state !== undefined && state.root_check !== rootCheck) {
    throw new StoreError('WRONG_ROOT_KEY', 'the database belongs to another root key')
  }
  for (const table of Object.keys(TRACKED) as TrackedTable[]) {
    const query = sql<Record<string, unknown>>`select * from ${sql.table(table)}`
    for (const row of (await query.execute(db)).rows) rows.load(table, row)
  }
  rows.finishLoading(state)
  if (state === undefined) {
    const first = rows.stateAfter(rows.begin())
    await db
      .insertInto('store_state')
      .values({ id: STATE_ID, root_check: rootCheck, ...first })
      .execute()
    rows.commit(rows.begin())
  }
  return rows
}

/**
 * Opens the database, making it at first start, and checks every row that decisions depend on.
 * That the whole file was put back to an earlier copy cannot be seen
 * here; whoever keeps a checkpoint of the audit log sees it.
 * @throws StoreError OPEN, LOCKED, WRONG_ROOT_KEY, ROW_MAC, MIGRATION
 */
export async function openStore(options: {
  /** The database file; `-wal`, `-shm` and `.lock` files stand beside it. */
  readonly path: string
  readonly root: RootKey
}): Promise<Store> {
  const { path, root } = options
  const lockPath = `${path}.lock`
  try {
    await createPrivate(path)
    await createPrivate(lockPath)
    const worker = await WorkerConnection.open({ path, lockPath, busyTimeoutMs: BUSY_TIMEOUT_MS })
    const db = new Kysely<Schema>({ dialect: workerDialect(worker) })
    try {
      await migrateToLatest(db)
      return new Store(db, worker, await loadRows(db, root))
    } catch (error) {
      await worker.close()
      throw error
    }
  } catch (cause) {
    if (cause instanceof StoreError && cause.code !== 'SQL') throw cause
    throw new StoreError('OPEN', `${path} cannot be opened`, { cause })
  }
}

/**
 * Tells which root key a database belongs to, without any root key: what {@link RowKeys.rootCheck}
 * gives for it. Undefined where the database is not there, or holds nothing yet.
 * @throws StoreError OPEN, LOCKED, SQL
 */
export async function rootCheckOf(path: string): Promise<string | undefined> {
  if (!existsSync(path)) return undefined
  const lockPath = `${path}.lock`
  await createPrivate(lockPath)
  const worker = await WorkerConnection.open({ path, lockPath, busyTimeoutMs: BUSY_TIMEOUT_MS })
  try {
    const tables = await worker.query(
      "select name from sqlite_master where type = 'table' and name = 'store_state'",
      [],
    )
    if (tables.rows.length === 0) return undefined
    const { rows } = await worker.query('select root_check from store_state', [])
    const check = rows[0]?.['root_check']
    return typeof check === 'string' ? check : undefined
  } finally {
    await worker.close()
  }
}
