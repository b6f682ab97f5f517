import { open } from 'node:fs/promises'
import { type Compilable, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import { type Database, type StoredState, storedStateFrom } from '../database.ts'
import type { DialectParts, QueryOutcome } from '../dialect.ts'
import { WorkerConnection } from './worker-connection.ts'

const BUSY_TIMEOUT_MS = 5000

const SELECT_STATE = 'select root_check, epoch, mac from store_state where id = 1'

const statement = (sql: string) => ({ sql, parameters: [] })

/** A file of SQLite, on a thread of its own, which no other process may open. */
export class SqliteDatabase implements Database {
  readonly isShared = false
  readonly dialect: DialectParts = {
    adapter: () => new SqliteAdapter(),
    compiler: () => new SqliteQueryCompiler(),
    introspector: db => new SqliteIntrospector(db),
  }
  readonly #worker: WorkerConnection

  private constructor(worker: WorkerConnection) {
    this.#worker = worker
  }

  /**
   * Opens a file, making it where it is not there; `-wal`, `-shm` and `.lock` files stand beside it.
   * @throws StoreError SQL, LOCKED, WORKER
   */
  static async open(path: string): Promise<SqliteDatabase> {
    const lockPath = `${path}.lock`
    await createPrivate(path)
    await createPrivate(lockPath)
    const options = { path, lockPath, busyTimeoutMs: BUSY_TIMEOUT_MS }
    return new SqliteDatabase(await WorkerConnection.open(options))
  }

  readonly run = async (sql: string, parameters: readonly unknown[]): Promise<QueryOutcome> =>
    await this.#worker.query(sql, parameters)

  async begin(mode: 'read' | 'write'): Promise<StoredState | undefined> {
    // Immediate: the write lock is taken before anything is read.
    const begin = mode === 'read' ? 'begin' : 'begin immediate'
    const { rows } = await this.#worker.steps([statement(begin), statement(SELECT_STATE)])
    return storedStateFrom(rows[0])
  }

  async commit(last: readonly Compilable[]): Promise<void> {
    await this.#worker.steps([...last.map(query => query.compile()), statement('commit')])
  }

  async rollback(): Promise<void> {
    await this.#worker.rollback()
  }

  /** There is no other: the lock file is held as long as the database is open. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    return await work()
  }

  now(): Date {
    return new Date()
  }

  async close(): Promise<void> {
    await this.#worker.close()
  }
}

async function createPrivate(path: string): Promise<void> {
  // SQLite gives its log and index files the mode of the database.
  const file = await open(path, 'a', 0o600)
  await file.close()
}
