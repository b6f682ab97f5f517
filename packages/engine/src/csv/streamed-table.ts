import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { firstLines, type SealedSource } from '../context/source.ts'
import { type Column, type Database, identifier, literal } from '../duckdb/database.ts'
import { EngineError } from '../errors.ts'
import { countStreamedScans } from './scans.ts'

/** Bytes of plaintext that columns are sniffed from. */
const SNIFF_BYTES = 1 << 20

/** How a CSV file is read; what is not told is sniffed from its first lines. */
export interface CsvOptions {
  readonly header?: boolean
  readonly delimiter?: string
  /** DuckDB types by column name, in the file's order. */
  readonly columns?: Readonly<Record<string, string>>
}

/** How a file of JSON lines is read. */
export interface JsonOptions {
  readonly columns?: Readonly<Record<string, string>>
}

/** A sealed table that reaches DuckDB through pipes: columns known, data not read yet. */
export class StreamedTable {
  readonly source: SealedSource
  readonly columns: readonly Column[]
  /** Number of the table in its context; part of its columns' marks. */
  readonly number: number
  readonly #format: 'csv' | 'json'
  readonly #settings: string

  private constructor(
    source: SealedSource,
    number: number,
    columns: readonly Column[],
    format: 'csv' | 'json',
    settings: string,
  ) {
    this.source = source
    this.number = number
    this.columns = columns
    this.#format = format
    this.#settings = settings
  }

  /** Learns the columns of sealed CSV from its first lines. @throws EngineError */
  static async csv(
    database: Database,
    source: SealedSource,
    options: CsvOptions & { readonly folder: string; readonly number: number },
  ): Promise<StreamedTable> {
    const sample = await writeSample(source, options.folder)
    try {
      const [found] = await database.rows(
        `SELECT Delimiter, Quote, Escape, HasHeader, to_json(Columns) FROM sniff_csv(${literal(sample.path)}${sniffSettings(options)})`,
      )
      if (found === undefined) throw new EngineError('FORMAT', `${source.name} is no CSV`)
      const [delimiter, quote, escaping, header, columnsJson] = found
      const sniffed: readonly { readonly name: string; readonly type: string }[] = JSON.parse(
        String(columnsJson),
      )
      const columns = chosenColumns(sniffed, options.columns)
      const settings = [
        `delim=${literal(String(delimiter))}`,
        `quote=${literal(noneAsEmpty(quote))}`,
        `escape=${literal(noneAsEmpty(escaping))}`,
        `header=${String(header)}`,
        'auto_detect=false',
        'strict_mode=true',
      ].join(', ')
      return new StreamedTable(source, options.number, columns, 'csv', settings)
    } finally {
      await sample.remove()
    }
  }

  /** Learns the columns of sealed JSON lines from the first of them. @throws EngineError */
  static async json(
    database: Database,
    source: SealedSource,
    options: JsonOptions & { readonly folder: string; readonly number: number },
  ): Promise<StreamedTable> {
    const sample = await writeSample(source, options.folder)
    try {
      const sniffed = await database.describe(
        `SELECT * FROM read_json(${literal(sample.path)}, format='newline_delimited')`,
      )
      const columns = chosenColumns(sniffed, options.columns)
      return new StreamedTable(
        source,
        options.number,
        columns,
        'json',
        "format='newline_delimited'",
      )
    } finally {
      await sample.remove()
    }
  }

  /** SQL that reads the table from `paths`, with its columns marked as this table's. */
  scan(paths: readonly string[]): string {
    const marked = this.columns
      .map(({ name, type }) => `${literal(this.#mark(name))}: ${literal(type)}`)
      .join(', ')
    const list = paths.map(literal).join(', ')
    if (this.#format === 'csv') {
      const selected = this.columns
        .map(({ name }) => `${identifier(this.#mark(name))} AS ${identifier(name)}`)
        .join(', ')
      return `SELECT ${selected} FROM read_csv([${list}], columns={${marked}}, ${this.#settings})`
    }
    // JSON members are found by their names, so they cannot bear a mark.
    const plain = this.columns
      .map(({ name, type }) => `${literal(name)}: ${literal(type)}`)
      .join(', ')
    return `SELECT * FROM read_json([${list}], columns={${plain}}, ${this.#settings})`
  }

  /** How often a plan reads this table. More than once, or unknown, means: not through a pipe. */
  scansIn(plan: unknown): number {
    return countStreamedScans(plan, {
      operator: this.#format === 'csv' ? 'READ_CSV' : 'READ_JSON',
      marker: this.#format === 'csv' ? this.#mark('') : undefined,
    })
  }

  #mark(name: string): string {
    return `t${this.number}§${name}`
  }
}

function noneAsEmpty(value: unknown): string {
  const text = String(value)
  return text === '(empty)' || text === '\u0000' ? '' : text
}

function sniffSettings(options: CsvOptions): string {
  const { header, delimiter } = options
  return [
    header === undefined ? '' : `, header=${header}`,
    delimiter === undefined ? '' : `, delim=${literal(delimiter)}`,
  ].join('')
}

/** The person's columns, where given: as many as the file has, by name where it has a header. */
function chosenColumns(
  sniffed: readonly Column[],
  wanted: Readonly<Record<string, string>> | undefined,
): readonly Column[] {
  if (wanted === undefined) return sniffed.map(({ name, type }) => ({ name, type }))
  const columns = Object.entries(wanted).map(([name, type]) => ({ name, type }))
  if (columns.length !== sniffed.length) {
    throw new EngineError(
      'COLUMN',
      `${columns.length} columns wanted (${columns.map(({ name }) => name).join(', ')}), ` +
        `the file has ${sniffed.length} (${sniffed.map(({ name }) => name).join(', ')})`,
    )
  }
  return columns
}

async function writeSample(source: SealedSource, folder: string) {
  const [first] = source.parts
  if (first === undefined) throw new EngineError('INPUT', `table ${source.name} has no files`)
  const path = join(folder, `sample-${process.pid}-${sampleNumber++}`)
  await writeFile(path, await firstLines(first, SNIFF_BYTES), { mode: 0o600, flag: 'wx' })
  return { path, remove: () => rm(path, { force: true }) }
}

let sampleNumber = 0
