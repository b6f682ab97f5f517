import { open } from 'node:fs/promises'
import { SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import {
  type CommitOptions,
  type Database,
  type StoredState,
  storedStateFrom,
} from '../database.ts'
import type { DialectParts, QueryOutcome } from '../dialect.ts'
import { asSqlValue } from '../sql-value.ts'
import type { Statement } from '../statements.ts'
import { WorkerConnection } from './worker-connection.ts'

const BUSY_TIMEOUT_MS = 5000

const SELECT_STATE = 'select root_check, epoch, mac from store_state where id = 1'

// Immediate: the write lock is taken before anything is read.
const BEGIN = { read: 'begin', write: 'begin immediate' } as const

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
    await this.#worker.steps([{ sql, parameters: parameters.map(asSqlValue) }])

  async begin(mode: 'read' | 'write'): Promise<StoredState | undefined> {
    const steps = [statement(BEGIN[mode]), statement(SELECT_STATE)]
    const { rows } = await this.#worker.steps(steps)
    return storedStateFrom(rows[0])
  }

  async send(statements: readonly Statement[]): Promise<void> {
    await this.#worker.steps(statements)
  }

  async commit({ isBegun, state, statements }: CommitOptions): Promise<void> {
    await this.#worker.steps([
      ...(isBegun ? [] : [statement(BEGIN.write)]),
      ...statements,
      ...(state === undefined ? [] : [{ ...state, changes: 1 }]),
      statement('commit'),
    ])
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
