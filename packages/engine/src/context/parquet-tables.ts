import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createSegmentPool, type SegmentPool } from '@cloister/sealed'
import { Database, identifier, literal } from '../duckdb/database.ts'
import { EngineError } from '../errors.ts'
import { type IsWanted, OpenedParquet } from '../parquet/opened-file.ts'
import { mayHaveRows } from '../parquet/pruning.ts'
import { markedColumn, type ParquetScan, parquetScansIn } from '../plan/parquet-scans.ts'
import type { SealedSource } from './source.ts'

/** A plan over footers takes little. */
const PLANNER_MIB = 64

/** What {@link ParquetTables} works with. */
export interface ParquetTablesOptions {
  readonly database: Database
  /** Threads that open segments. */
  readonly threads: number
  /** A private folder in memory-backed or encrypted space. */
  readonly folder: string
  /** Most plaintext that may be open at a time, in bytes. */
  readonly limitBytes: number
}

interface ParquetTable {
  readonly number: number
  /** What the columns are called inside DuckDB. */
  readonly names: readonly string[]
  readonly files: readonly OpenedParquet[]
}

/** What of a file is to be opened before a query runs. */
interface Need {
  readonly file: OpenedParquet
  readonly names: readonly string[]
  readonly segments: readonly number[]
}

/** Sealed Parquet tables of a context. A query opens what its plan touches; it stays open. */
export class ParquetTables {
  readonly #options: ParquetTablesOptions
  readonly #tables: ParquetTable[] = []
  #pool: SegmentPool | undefined
  #planner: Database | undefined
  #bytes = 0

  constructor(options: ParquetTablesOptions) {
    this.#options = options
  }

  /** Segments opened so far: of footers and of what queries touched. */
  get segmentsOpened(): number {
    const files = this.#tables.flatMap(table => table.files)
    return files.reduce((sum, { segmentsOpened }) => sum + segmentsOpened, 0)
  }

  /** Opens a table's footers, and makes a view of it. @throws EngineError, SealedFormatError */
  async add(source: SealedSource): Promise<void> {
    const { database, folder, threads } = this.#options
    this.#pool ??= createSegmentPool({ workers: threads })
    this.#planner ??= await openPlanner(folder)
    const files: OpenedParquet[] = []
    try {
      for (const part of source.parts) {
        const path = join(folder, `${randomBytes(16).toString('hex')}.parquet`)
        files.push(await OpenedParquet.open(part, path))
      }
      const columns = columnsOf(source.name, files)
      const number = this.#tables.length
      const names = columns.map((_, index) => markedColumn(number, index))
      for (const file of files) await file.publish(names)
      const list = files.map(({ path }) => literal(path)).join(', ')
      const selected = columns
        .map((column, index) => `${identifier(names[index] ?? '')} AS ${identifier(column)}`)
        .join(', ')
      const view = `CREATE VIEW ${identifier(source.name)} AS SELECT ${selected} FROM read_parquet([${list}])`
      await this.#planner.run(view)
      await database.run(view)
      this.#tables.push({ number, names, files })
      await this.#pool.ready()
    } catch (error) {
      await Promise.allSettled(files.map(file => file.close()))
      throw error
    }
  }

  /**
   * Opens what a query touches and is not open yet.
   * @param otherViews - statements that make the query's other tables, as far as columns go
   * @param whole - opens the tables whole that the query touches
   * @throws EngineError `MEMORY_LIMIT` before anything is opened; SealedFormatError, PoolError
   */
  async prepare(sql: string, otherViews: readonly string[], whole = false): Promise<void> {
    if (this.#pool === undefined || this.#planner === undefined) return
    for (const view of otherViews) await this.#planner.run(view)
    const plan = await this.#planner.explain(sql)
    const needs = this.#tables.flatMap(table =>
      needsOf(table, parquetScansIn(plan, table.number), whole).filter(
        ({ segments }) => segments.length > 0,
      ),
    )
    const wanted = needs.reduce((sum, { file, segments }) => sum + file.bytesOf(segments), 0)
    const { limitBytes } = this.#options
    if (this.#bytes + wanted > limitBytes) {
      throw new EngineError(
        'MEMORY_LIMIT',
        `the query touches ${wanted} bytes of Parquet that are not open yet, ${this.#bytes} are open, ${limitBytes} are allowed`,
      )
    }
    for (const { file, names, segments } of needs) {
      await file.fill(this.#pool, segments)
      this.#bytes += file.bytesOf(segments)
      await file.publish(names)
    }
  }

  /** Removes all that is open. */
  async close(): Promise<void> {
    const files = this.#tables.flatMap(table => table.files)
    await Promise.all(files.map(file => file.close()))
    this.#planner?.close()
    await this.#pool?.close()
  }
}

/**
 * A database that only plans. Statistics can drop a filter whose column DuckDB then reads all the
 * same, and the plan does not name it any more; without them, and without fetching columns later by
 * row number, a plan names all that is read.
 */
async function openPlanner(folder: string): Promise<Database> {
  return await Database.open({
    allowedFolders: [folder],
    spillFolder: join(folder, 'planner'),
    memoryMiB: PLANNER_MIB,
    threads: 1,
    withoutOptimizers: ['late_materialization', 'statistics_propagation'],
  })
}

function needsOf(
  { files, names }: ParquetTable,
  scans: readonly ParquetScan[],
  whole: boolean,
): readonly Need[] {
  const all: IsWanted = () => scans.length > 0
  return files.map(file => ({
    file,
    names,
    segments: file.missing(whole ? all : wantedBy(file, scans)),
  }))
}

function wantedBy({ footer }: OpenedParquet, scans: readonly ParquetScan[]): IsWanted {
  const touched = scans.map(({ columns, filters }) => ({
    leaves: new Set(
      [...columns].flatMap(column => {
        const range = footer.columns[column]?.leaves
        return range === undefined ? [] : numbersIn(range)
      }),
    ),
    groups: footer.rowGroups.map(group => mayHaveRows(footer, group, filters)),
  }))
  return (group, leaf) =>
    touched.some(({ leaves, groups }) => groups[group] === true && leaves.has(leaf))
}

function numbersIn({ start, end }: { readonly start: number; readonly end: number }): number[] {
  return Array.from({ length: end - start }, (_, index) => start + index)
}

/**
 * A table's columns: every part has the same ones, in the same order. Names that differ in case
 * alone, or not at all, get a number, as DuckDB gives it.
 */
function columnsOf(table: string, files: readonly OpenedParquet[]): readonly string[] {
  const [first = [], ...others] = files.map(({ footer }) => footer.columns.map(({ name }) => name))
  for (const other of others) {
    if (JSON.stringify(other) !== JSON.stringify(first)) {
      throw new EngineError(
        'COLUMN',
        `parts of table ${table}: wanted columns ${first.join(', ')} in each, saw ${other.join(', ')}`,
      )
    }
  }
  const taken = new Set<string>()
  return first.map(name => {
    let unique = name
    for (let count = 1; taken.has(unique.toLowerCase()); count += 1) unique = `${name}_${count}`
    taken.add(unique.toLowerCase())
    return unique
  })
}
