import { randomBytes } from 'node:crypto'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Feed } from '../csv/feed.ts'
import { Feeders } from '../csv/feeders.ts'
import { type CsvOptions, type JsonOptions, StreamedTable } from '../csv/streamed-table.ts'
import { type Column, Database, identifier } from '../duckdb/database.ts'
import { EngineError } from '../errors.ts'
import { type OutputFormat, type TableSink, writeThroughPipe } from '../output/write.ts'
import { ParquetTables } from './parquet-tables.ts'
import { requireSource, type SealedSource } from './source.ts'

/** Options of {@link PpmlContext.connect}. */
export interface ContextOptions {
  /** Memory that DuckDB and opened Parquet segments may take together, in MiB. */
  readonly memoryMiB: number
  /** A folder in memory-backed or encrypted space; the context makes a private one inside. */
  readonly scratchFolder: string
  /** Threads of DuckDB; 2 unless told. */
  readonly threads?: number
}

/** What a context has done so far. */
export interface ContextStatistics {
  /** Segments of Parquet files that were opened. */
  readonly segmentsOpened: number
  /** Tables that were read whole into memory, since a query reads them more than once. */
  readonly tablesMaterialised: number
  /** Queries whose plan named too little, so that their Parquet tables were opened whole. */
  readonly plansMissed: number
}

/** A query's answer: its columns, and its rows in pieces. */
export interface QueryResult {
  readonly columns: readonly Column[]
  /** Reads all rows. @throws EngineError, SealedFormatError; then no row may be used */
  rows(): Promise<readonly (readonly unknown[])[]>
}

/** A share of the memory is kept back from DuckDB for opened Parquet segments. */
const DUCKDB_SHARE = 0.6

/**
 * SQL over sealed tables: sealed in, sealed out, DuckDB in between with no way to the outside.
 * One query at a time.
 *
 * @example
 * const context = await PpmlContext.connect({ memoryMiB: 1024, scratchFolder: '/tmp' })
 * await context.read({ name: 'people', parts }).csv()
 * const { rows } = await context.sql('SELECT count(name) FROM people')
 */
export class PpmlContext {
  readonly #database: Database
  readonly #folder: string
  readonly #streamed = new Map<string, StreamedTable>()
  readonly #parquet: ParquetTables
  readonly #names = new Set<string>()
  readonly #feeders = new Feeders()
  #materialised = 0
  #plansMissed = 0
  #closed = false

  private constructor(database: Database, folder: string, parquet: ParquetTables) {
    this.#database = database
    this.#folder = folder
    this.#parquet = parquet
  }

  /** Opens a context in a private folder of its own. */
  static async connect(options: ContextOptions): Promise<PpmlContext> {
    const folder = join(options.scratchFolder, `cloister-${randomBytes(8).toString('hex')}`)
    await mkdir(folder, { mode: 0o700 })
    await chmod(folder, 0o700)
    const spillFolder = join(folder, 'spill')
    const memoryMiB = Math.max(64, Math.floor(options.memoryMiB * DUCKDB_SHARE))
    const threads = options.threads ?? 2
    const database = await Database.open({
      allowedFolders: [folder],
      spillFolder,
      memoryMiB,
      threads,
      withoutOptimizers: ['late_materialization'],
    })
    const limitBytes = Math.max(0, options.memoryMiB - memoryMiB) * 2 ** 20
    const parquet = new ParquetTables({ database, folder, threads, limitBytes })
    return new PpmlContext(database, folder, parquet)
  }

  /** Registers a sealed table; say which format it has. */
  read(source: SealedSource): TableReader {
    this.#requireOpen()
    requireSource(source)
    if (this.#names.has(source.name)) {
      throw new EngineError('INPUT', `table ${source.name} is there already`)
    }
    const streamed = async (make: (number: number) => Promise<StreamedTable>) => {
      this.#names.add(source.name)
      this.#streamed.set(source.name, await make(this.#names.size))
      await this.#feeders.start(source.parts.length)
    }
    const folder = this.#folder
    return {
      csv: (options = {}) =>
        streamed(number =>
          StreamedTable.csv(this.#database, source, { ...options, folder, number }),
        ),
      json: (options = {}) =>
        streamed(number =>
          StreamedTable.json(this.#database, source, { ...options, folder, number }),
        ),
      parquet: async () => {
        this.#names.add(source.name)
        await this.#parquet.add(source)
      },
    }
  }

  /** Prepares a query. Nothing is read before its rows are. @throws EngineError */
  async sql(text: string): Promise<QueryResult> {
    const sql = await this.#checked(text)
    const columns = await this.#database.describe(sql)
    return {
      columns,
      rows: () =>
        this.#overTables(sql, async () => {
          const rows: (readonly unknown[])[] = []
          for await (const piece of this.#database.stream(sql)) rows.push(...piece)
          return rows
        }),
    }
  }

  /** Runs a query into a sink, with bounded memory; say in which format. */
  write(text: string): TableWriter {
    const write = async (format: OutputFormat, sink: TableSink) => {
      const sql = await this.#checked(text)
      let written = false
      const noting: TableSink = {
        write: chunk => {
          written = true
          return sink.write(chunk)
        },
      }
      const options = { database: this.#database, folder: this.#folder, sql, format, sink: noting }
      return await this.#overTables(
        sql,
        () => writeThroughPipe(options),
        () => !written,
      )
    }
    return {
      csv: sink => write('csv', sink),
      json: sink => write('json', sink),
      parquet: sink => write('parquet', sink),
    }
  }

  /** What was done so far. */
  get statistics(): ContextStatistics {
    return {
      segmentsOpened: this.#parquet.segmentsOpened,
      tablesMaterialised: this.#materialised,
      plansMissed: this.#plansMissed,
    }
  }

  /** Closes the database and removes the private folder. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#feeders.close()
    this.#database.close()
    await this.#parquet.close()
    await rm(this.#folder, { recursive: true, force: true })
  }

  #requireOpen(): void {
    if (this.#closed) throw new EngineError('CLOSED', 'the context is closed')
  }

  /** One SELECT that binds over the tables' columns; views stand for tables not opened yet. */
  async #checked(text: string): Promise<string> {
    this.#requireOpen()
    const sql = text.trim().replace(/;\s*$/, '')
    await this.#bindStreamed(() => [])
    await this.#database.requireSelect(sql)
    return sql
  }

  /** Opens what the query needs, runs it, and accepts its outcome only if every part opened. */
  async #overTables<T>(
    sql: string,
    run: () => Promise<T>,
    mayRunAgain: () => boolean = () => true,
  ): Promise<T> {
    this.#requireOpen()
    const otherViews = await this.#streamedViews(() => [])
    await this.#parquet.prepare(sql, otherViews)
    const used = await this.#streamedIn(sql)
    try {
      return await this.#fed(used, run)
    } catch (error) {
      const missed = error instanceof EngineError && error.code === 'PARQUET'
      if (!missed || !mayRunAgain()) throw error
      this.#plansMissed += 1
      await this.#parquet.prepare(sql, otherViews, true)
      return await this.#fed(used, run)
    }
  }

  /** Streamed tables that a query reads once; one that it reads more often is made a table first. */
  async #streamedIn(sql: string): Promise<readonly StreamedTable[]> {
    if (this.#streamed.size === 0) return []
    await this.#bindStreamed(() => [])
    const plan = await this.#database.explain(sql)
    for (const table of [...this.#streamed.values()]) {
      if (table.scansIn(plan) > 1) await this.#materialise(table)
    }
    return [...this.#streamed.values()].filter(table => table.scansIn(plan) === 1)
  }

  async #fed<T>(tables: readonly StreamedTable[], run: () => Promise<T>): Promise<T> {
    const feeds = new Map<StreamedTable, Feed>()
    const interrupt = () => this.#database.interrupt()
    try {
      for (const table of tables) {
        feeds.set(
          table,
          await Feed.start({
            parts: table.source.parts,
            folder: this.#folder,
            feeders: this.#feeders,
            onFailure: interrupt,
          }),
        )
      }
      await this.#bindStreamed(table => feeds.get(table)?.paths ?? [])
      const outcome = await settle(run())
      await finishAll(feeds.values())
      if (outcome.status === 'rejected') throw outcome.reason
      return outcome.value
    } finally {
      await Promise.allSettled([...feeds.values()].map(feed => feed.finish()))
    }
  }

  async #materialise(table: StreamedTable): Promise<void> {
    const { name } = table.source
    await this.#fed([table], () =>
      this.#database.run(
        `CREATE TABLE ${identifier(`${name}$`)} AS SELECT * FROM ${identifier(name)}`,
      ),
    )
    await this.#database.run(
      `CREATE OR REPLACE VIEW ${identifier(name)} AS SELECT * FROM ${identifier(`${name}$`)}`,
    )
    this.#streamed.delete(name)
    this.#materialised += 1
  }

  /** Makes the views of streamed tables read from the given pipes, or from a name that is nowhere. */
  async #bindStreamed(pathsOf: (table: StreamedTable) => readonly string[]): Promise<void> {
    for (const view of await this.#streamedViews(pathsOf)) await this.#database.run(view)
  }

  async #streamedViews(
    pathsOf: (table: StreamedTable) => readonly string[],
  ): Promise<readonly string[]> {
    const tables = [...this.#streamed.values()]
    const stand = tables.length === 0 ? '' : await this.#emptyFile()
    return tables.map(table => {
      const paths = pathsOf(table)
      const scan = table.scan(paths.length === 0 ? [stand] : paths)
      return `CREATE OR REPLACE VIEW ${identifier(table.source.name)} AS ${scan}`
    })
  }

  /** DuckDB binds a file only where one is; nothing is ever read from this one. */
  async #emptyFile(): Promise<string> {
    const path = join(this.#folder, 'not-opened')
    await writeFile(path, '')
    return path
  }
}

/** Says which format a sealed table has. */
export interface TableReader {
  csv(options?: CsvOptions): Promise<void>
  json(options?: JsonOptions): Promise<void>
  parquet(): Promise<void>
}

/** Says in which format a query's rows are written. Each gives the number of rows. */
export interface TableWriter {
  csv(sink: TableSink): Promise<number>
  json(sink: TableSink): Promise<number>
  parquet(sink: TableSink): Promise<number>
}

async function settle<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [outcome] = await Promise.allSettled([promise])
  return outcome
}

/** What a part failed with explains better than what the reader made of it. */
async function finishAll(feeds: Iterable<Feed>): Promise<void> {
  for (const outcome of await Promise.allSettled([...feeds].map(feed => feed.finish()))) {
    if (outcome.status === 'rejected') throw outcome.reason
  }
}
