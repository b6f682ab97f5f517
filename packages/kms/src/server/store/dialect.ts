import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type TransactionSettings,
} from 'kysely'
import { StoreError } from './errors.ts'
import type { WorkerConnection } from './worker-connection.ts'

class Connection implements DatabaseConnection {
  readonly #worker: WorkerConnection

  constructor(worker: WorkerConnection) {
    this.#worker = worker
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, changes } = await this.#worker.query(query.sql, query.parameters)
    // Kysely's types say what the rows of its query are; the schema is STRICT.
    return { rows: rows as R[], numAffectedRows: BigInt(changes) }
  }

  // biome-ignore lint/correctness/useYield: the interface wants a generator, which here only refuses
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new StoreError('SQL', 'this driver does not stream')
  }
}

class WorkerDriver implements Driver {
  readonly #worker: WorkerConnection

  constructor(worker: WorkerConnection) {
    this.#worker = worker
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return new Connection(this.#worker)
  }

  async beginTransaction(
    connection: DatabaseConnection,
    settings: TransactionSettings,
  ): Promise<void> {
    // Immediate: the write lock is taken before anything is read.
    const begin = settings.accessMode === 'read only' ? 'begin' : 'begin immediate'
    await connection.executeQuery(CompiledQuery.raw(begin))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  async rollbackTransaction(): Promise<void> {
    await this.#worker.rollback()
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {
    await this.#worker.close()
  }
}

/**
 * Kysely over one libsql connection on a worker thread. There is one connection and no pool: the
 * caller runs one transaction at a time, as {@link Store} does with its mutex.
 */
export function workerDialect(worker: WorkerConnection): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new WorkerDriver(worker),
    createIntrospector: db => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}
