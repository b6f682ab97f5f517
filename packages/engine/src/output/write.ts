import { createReadStream } from 'node:fs'
import { makeFifos, releaseReader } from '../csv/fifo.ts'
import { type Database, literal } from '../duckdb/database.ts'
import { EngineError } from '../errors.ts'

/** How rows are written. */
export type OutputFormat = 'csv' | 'json' | 'parquet'

/** Where the bytes of a written table go; a part of a sealed dataset is one. */
export interface TableSink {
  /** Takes the next bytes. */
  write(chunk: Uint8Array): Promise<void>
}

const SETTINGS: Readonly<Record<OutputFormat, string>> = {
  csv: 'FORMAT csv, HEADER true',
  json: 'FORMAT json',
  parquet: 'FORMAT parquet, COMPRESSION zstd',
}

/**
 * Has DuckDB write a query's rows into a pipe and passes the bytes on to the sink. If either side
 * fails, so does the whole: what the sink has by then is not a table.
 * @returns the number of rows
 * @throws EngineError
 */
export async function writeThroughPipe(options: {
  readonly database: Database
  readonly folder: string
  readonly sql: string
  readonly format: OutputFormat
  readonly sink: TableSink
}): Promise<number> {
  const { database, folder, sql, format, sink } = options
  const [pipe] = await makeFifos(folder, 1)
  if (pipe === undefined) throw new EngineError('OUTPUT', 'no pipe was made')
  const copy = database
    .rows(`COPY (${sql}) TO ${literal(pipe)} (${SETTINGS[format]}, USE_TMP_FILE false)`)
    .finally(() => releaseReader(pipe))
  const passing = passOn(pipe, sink, () => database.interrupt())
  const [copied, passed] = await Promise.allSettled([copy, passing])
  if (passed.status === 'rejected') throw passed.reason
  if (copied.status === 'rejected') throw copied.reason
  return Number(copied.value[0]?.[0])
}

async function passOn(pipe: string, sink: TableSink, onFailure: () => void): Promise<void> {
  const stream = createReadStream(pipe, { highWaterMark: 1 << 18 })
  try {
    for await (const chunk of stream) await sink.write(chunk)
  } catch (error) {
    onFailure()
    throw error
  } finally {
    stream.destroy()
  }
}
