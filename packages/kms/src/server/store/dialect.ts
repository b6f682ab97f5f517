import {
  CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type DialectAdapter,
  type Driver,
  Kysely,
  type QueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import { StoreError } from './errors.ts'
import type { Schema } from './schema.ts'

/** What a statement came to. */
export interface QueryOutcome {
  readonly rows: readonly Record<string, unknown>[]
  readonly changes: number
}

/** Runs one statement. @throws StoreError */
export type RunQuery = (sql: string, parameters: readonly unknown[]) => Promise<QueryOutcome>

/** What Kysely must know of a kind of database. */
export interface DialectParts {
  readonly adapter: () => DialectAdapter
  readonly compiler: () => QueryCompiler
  readonly introspector: (db: Kysely<unknown>) => DatabaseIntrospector
}

class Connection implements DatabaseConnection {
  readonly #run: RunQuery

  constructor(run: RunQuery) {
    this.#run = run
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, changes } = await this.#run(query.sql, query.parameters)
    // Kysely's types say what the rows of its query are; the columns have the types they were declared with.
    return { rows: rows as R[], numAffectedRows: BigInt(changes) }
  }

  // biome-ignore lint/correctness/useYield: the interface wants a generator, which here only refuses
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new StoreError('SQL', 'this driver does not stream')
  }
}

/**
 * A driver of one connection and no pool: whoever uses it runs one transaction at a time. Only
 * migrations begin and end transactions through it.
 */
class OneConnectionDriver implements Driver {
  readonly #connection: Connection

  constructor(run: RunQuery) {
    this.#connection = new Connection(run)
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection
  }

  async beginTransaction(connection: DatabaseConnection, _: TransactionSettings): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin'))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'))
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {}
}

/** Kysely over whatever runs statements one after the other. */
export function kyselyOver(parts: DialectParts, run: RunQuery): Kysely<Schema> {
  return new Kysely<Schema>({
    dialect: {
      createAdapter: parts.adapter,
      createDriver: () => new OneConnectionDriver(run),
      createIntrospector: parts.introspector,
      createQueryCompiler: parts.compiler,
    },
  })
}
