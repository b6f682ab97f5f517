import { type DuckDBConnection, DuckDBInstance, StatementType } from '@duckdb/node-api'
import { EngineError } from '../errors.ts'
import { engineErrorFrom } from './failure.ts'

/** How a locked-down DuckDB is opened. */
export interface DatabaseOptions {
  /** The only folders whose files SQL may touch. */
  readonly allowedFolders: readonly string[]
  /** Where DuckDB spills: inside the instance's own memory-backed or encrypted space. */
  readonly spillFolder: string
  readonly memoryMiB: number
  readonly threads: number
  /** DuckDB's optimizers that are left out. */
  readonly withoutOptimizers?: readonly string[]
}

/** A column of a result. */
export interface Column {
  readonly name: string
  /** DuckDB's name of the type, such as `BIGINT`. */
  readonly type: string
}

/** The one place that calls DuckDB. Every failure leaves as an {@link EngineError}. */
export class Database {
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance
    this.#connection = connection
  }

  /** Opens a database in memory, with extensions off, files out of reach and settings locked. */
  static async open(options: DatabaseOptions): Promise<Database> {
    const instance = await DuckDBInstance.create(':memory:', {
      threads: String(options.threads),
      memory_limit: `${options.memoryMiB}MiB`,
      temp_directory: options.spillFolder,
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false',
      allow_unsigned_extensions: 'false',
    })
    const connection = await instance.connect()
    const folders = options.allowedFolders.map(folder => literal(`${folder}/`)).join(', ')
    await connection.run(`SET allowed_directories = [${folders}]`)
    const left = options.withoutOptimizers ?? []
    await connection.run(`SET disabled_optimizers = ${literal(left.join(','))}`)
    // A file is read as it is now.
    await connection.run('SET enable_external_file_cache = false')
    await connection.run('SET enable_external_access = false')
    await connection.run('SET lock_configuration = true')
    return new Database(instance, connection)
  }

  /** Refuses anything but one SELECT (or VALUES, FROM, DESCRIBE). @throws EngineError */
  async requireSelect(sql: string): Promise<void> {
    const extracted = await this.#attempt(() => this.#connection.extractStatements(sql))
    if (extracted.count !== 1) {
      throw new EngineError(
        'NOT_SELECT',
        `wanted one SELECT, saw ${extracted.count} statements; give each query its own entry`,
      )
    }
    const { statementType } = await this.#attempt(() => extracted.prepare(0))
    if (statementType !== StatementType.SELECT) {
      throw new EngineError(
        'NOT_SELECT',
        `wanted a SELECT, saw ${StatementType[statementType] ?? 'another statement'}`,
      )
    }
  }

  /** Runs a statement of our own. */
  async run(sql: string): Promise<void> {
    await this.#attempt(() => this.#connection.run(sql))
  }

  /** Runs a query and gives its rows as JSON values, one array a row. */
  async rows(sql: string): Promise<readonly (readonly unknown[])[]> {
    return await this.#attempt(async () => (await this.#connection.run(sql)).getRowsJson())
  }

  /** The columns of a query, without running it. */
  async describe(sql: string): Promise<readonly Column[]> {
    const rows = await this.rows(`DESCRIBE ${sql}`)
    return rows.map(([name, type]) => ({ name: String(name), type: String(type) }))
  }

  /** The optimised plan of a query, as DuckDB's JSON. */
  async explain(sql: string): Promise<unknown> {
    const rows = await this.rows(`EXPLAIN (FORMAT json) ${sql}`)
    return JSON.parse(String(rows[0]?.[1]))
  }

  /** Runs a query and gives its rows in pieces, as JavaScript values. */
  async *stream(sql: string): AsyncGenerator<readonly (readonly unknown[])[], void, undefined> {
    const result = await this.#attempt(() => this.#connection.stream(sql))
    for (;;) {
      const chunk = await this.#attempt(() => result.fetchChunk())
      if (chunk === null || chunk.rowCount === 0) return
      yield chunk.getRows()
    }
  }

  /** Makes the statement under way fail soon. */
  interrupt(): void {
    this.#connection.interrupt()
  }

  /** The connection itself, for code that plans scans. */
  get connection(): DuckDBConnection {
    return this.#connection
  }

  /** Closes the database. */
  close(): void {
    this.#connection.closeSync()
    this.#instance.closeSync()
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw engineErrorFrom(error)
    }
  }
}

/** Quotes a text for SQL. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** Quotes a name for SQL. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
