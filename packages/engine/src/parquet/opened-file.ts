import { type FileHandle, open, rm } from 'node:fs/promises'
import { openSealedFile, type SealedFileReader, type SegmentPool } from '@cloister/sealed'
import type { SealedPart } from '../context/source.ts'
import { EngineError } from '../errors.ts'
import { ParquetFooterError } from './errors.ts'
import {
  type ColumnChunk,
  footerRange,
  PARQUET_TAIL,
  type ParquetFooter,
  parseFooter,
} from './footer.ts'
import { rewriteFooter } from './rewrite-footer.ts'

/** Columns and row groups of which a query needs something. */
export type IsWanted = (rowGroup: number, leaf: number) => boolean

/**
 * A sealed Parquet file of which only some segments are open: a sparse file in memory-backed space,
 * with each open segment at its place and, behind the end of the plaintext, a footer that lists the
 * chunks that are there. Whoever touches another chunk gets an error, never zeros.
 */
export class OpenedParquet {
  /** The sparse file. */
  readonly path: string
  readonly footer: ParquetFooter
  /** Segments that have been opened: for the footer, then for chunks. */
  segmentsOpened: number
  readonly #reader: SealedFileReader
  readonly #memory: FileHandle
  /** Whether a segment's plaintext is at its place. */
  readonly #open: Uint8Array

  private constructor(
    path: string,
    reader: SealedFileReader,
    memory: FileHandle,
    footer: ParquetFooter,
  ) {
    this.path = path
    this.footer = footer
    this.#reader = reader
    this.#memory = memory
    this.#open = new Uint8Array(reader.plaintextSize === 0 ? 0 : lastSegment(reader) + 1)
    const { start, end } = reader.segmentsOf(footer.start, reader.plaintextSize)
    this.segmentsOpened = end - start
  }

  /**
   * Opens a file's footer and nothing else.
   * @param path - where the sparse file goes; it must not be there yet
   * @throws SealedFormatError; EngineError `PARQUET` when the plaintext has no usable footer
   */
  static async open(part: SealedPart, path: string): Promise<OpenedParquet> {
    const reader = await openSealedFile(part.path, part.dek)
    let memory: FileHandle | undefined
    try {
      const footer = await readFooter(reader)
      memory = await open(path, 'wx+', 0o600)
      return new OpenedParquet(path, reader, memory, footer)
    } catch (error) {
      await memory?.close()
      await reader.close()
      throw asEngineError(error)
    }
  }

  /** Segments that hold something wanted and are not open yet, in order. */
  missing(isWanted: IsWanted): readonly number[] {
    const segments = new Set<number>()
    for (const [group, { chunks }] of this.footer.rowGroups.entries()) {
      for (const [leaf, chunk] of chunks.entries()) {
        if (!isWanted(group, leaf)) continue
        for (const segment of this.#segmentsOf(chunk)) {
          if (this.#open[segment] === 0) segments.add(segment)
        }
      }
    }
    return [...segments].sort((a, b) => a - b)
  }

  /** Bytes of plaintext of some segments. */
  bytesOf(segments: readonly number[]): number {
    return segments.reduce((sum, segment) => {
      const { start, end } = this.#reader.plaintextOf(segment)
      return sum + end - start
    }, 0)
  }

  /** Opens segments to their places. @throws SealedFormatError, PoolError; then none is taken as open */
  async fill(pool: SegmentPool, segments: readonly number[]): Promise<void> {
    if (segments.length === 0) return
    await pool.openInto(this.#reader, segments, this.#memory.fd)
    for (const segment of segments) this.#open[segment] = 1
    this.segmentsOpened += segments.length
  }

  /**
   * Writes the footer anew: with the chunks that are open.
   * @param names - what the columns are called inside DuckDB
   */
  async publish(names: readonly string[]): Promise<void> {
    const footer = rewriteFooter(this.footer, {
      names,
      isOpened: (group, leaf) => this.#isOpen(this.footer.rowGroups[group]?.chunks[leaf]),
    })
    const at = this.#reader.plaintextSize
    await this.#memory.truncate(at)
    await this.#memory.write(footer, 0, footer.length, at)
  }

  /** Closes the file and removes it. */
  async close(): Promise<void> {
    await this.#memory.close()
    await this.#reader.close()
    await rm(this.path, { force: true })
  }

  #isOpen(chunk: ColumnChunk | undefined): boolean {
    if (chunk === undefined) return false
    for (const segment of this.#segmentsOf(chunk)) if (this.#open[segment] === 0) return false
    return true
  }

  *#segmentsOf({ start, end }: ColumnChunk): Generator<number, void, undefined> {
    if (start >= end) return
    const range = this.#reader.segmentsOf(start, end)
    for (let segment = range.start; segment < range.end; segment += 1) yield segment
  }
}

async function readFooter(reader: SealedFileReader): Promise<ParquetFooter> {
  const size = reader.plaintextSize
  const tail = await reader.readRange(Math.max(0, size - PARQUET_TAIL), size)
  const { start, end } = footerRange(tail, size)
  return parseFooter(await reader.readRange(start, end), start)
}

function lastSegment(reader: SealedFileReader): number {
  return reader.segmentsOf(reader.plaintextSize - 1, reader.plaintextSize).start
}

function asEngineError(error: unknown): unknown {
  if (!(error instanceof ParquetFooterError)) return error
  return new EngineError('PARQUET', `${error.message} [${error.code}]`, { cause: error })
}
