import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { openSealedFile } from '@cloister/sealed'
import { type Database, identifier, literal } from '../duckdb/database.ts'
import { EngineError } from '../errors.ts'
import type { SealedSource } from './source.ts'

/** Sealed Parquet tables of a context, opened into memory files of its private folder. */
export class ParquetTables {
  readonly #database: Database
  readonly #folder: string
  readonly #limitBytes: number
  #bytes = 0
  #segments = 0

  constructor(options: {
    readonly database: Database
    readonly folder: string
    readonly limitBytes: number
  }) {
    this.#database = options.database
    this.#folder = options.folder
    this.#limitBytes = options.limitBytes
  }

  get segmentsOpened(): number {
    return this.#segments
  }

  async add(source: SealedSource): Promise<void> {
    const paths: string[] = []
    for (const [index, part] of source.parts.entries()) {
      const reader = await openSealedFile(part.path, part.dek)
      try {
        this.#bytes += reader.plaintextSize
        if (this.#bytes > this.#limitBytes) {
          throw new EngineError(
            'MEMORY_LIMIT',
            `opened Parquet needs ${this.#bytes} bytes, ${this.#limitBytes} are allowed`,
          )
        }
        const path = join(this.#folder, `${source.name}-${index}.parquet`)
        const file = await open(path, 'wx', 0o600)
        for await (const piece of reader.stream()) {
          await file.writeFile(piece)
          this.#segments += 1
        }
        await file.close()
        paths.push(path)
      } finally {
        await reader.close()
      }
    }
    const list = paths.map(literal).join(', ')
    await this.#database.run(
      `CREATE VIEW ${identifier(source.name)} AS SELECT * FROM read_parquet([${list}])`,
    )
  }

  async prepare(_sql: string): Promise<void> {}

  async close(): Promise<void> {}
}
