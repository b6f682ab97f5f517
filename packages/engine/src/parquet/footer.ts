import { ParquetFooterError } from './errors.ts'
import { parseLeaves, type TopColumn } from './schema.ts'
import { type Bounds, boundsOf, type LeafKind } from './statistics.ts'
import { fieldOf, type ThriftList, type ThriftStruct, type ThriftValue } from './thrift.ts'
import { decodeThrift } from './thrift-decode.ts'

/** Bytes at a Parquet file's end: the footer's length and the magic. */
export const PARQUET_TAIL = 8

/** Largest footer that is read, in bytes. */
export const MAX_FOOTER_LENGTH = 2 ** 27

/** First offset that can hold data: the magic precedes it. */
const FIRST_OFFSET = 4

/** Where a column chunk's pages lie, and what its values lie between. */
export interface ColumnChunk {
  /** Offset of its first page in the file. */
  readonly start: number
  /** Offset at which other data begins; at least its first page and compressed size together. */
  readonly end: number
  readonly bounds: Bounds | undefined
}

/** A horizontal part of the table. */
export interface RowGroup {
  readonly rows: number
  /** One for each leaf of the schema. */
  readonly chunks: readonly ColumnChunk[]
}

/** A footer as read: what it says, and its own bytes as a tree. */
export interface ParquetFooter {
  readonly tree: ThriftStruct
  readonly columns: readonly TopColumn[]
  readonly rowGroups: readonly RowGroup[]
  /** Offset of the footer in its file, in bytes. */
  readonly start: number
}

/**
 * Reads a file's last eight bytes and returns where its footer lies.
 * @throws ParquetFooterError `MAGIC`, `ENCRYPTED`, `LIMIT`, `TRUNCATED`
 */
export function footerRange(
  tail: Uint8Array,
  fileSize: number,
): { readonly start: number; readonly end: number } {
  if (tail.length !== PARQUET_TAIL || fileSize < FIRST_OFFSET + PARQUET_TAIL) {
    throw new ParquetFooterError('TRUNCATED', `${fileSize} bytes are too few for Parquet`)
  }
  const magic = String.fromCharCode(...tail.subarray(4))
  if (magic === 'PARE') {
    throw new ParquetFooterError('ENCRYPTED', "the footer has Parquet's own encryption")
  }
  if (magic !== 'PAR1') {
    throw new ParquetFooterError('MAGIC', 'wanted Parquet, whose files end in PAR1')
  }
  const length = new DataView(tail.buffer, tail.byteOffset).getUint32(0, true)
  if (length > MAX_FOOTER_LENGTH) {
    throw new ParquetFooterError(
      'LIMIT',
      `wanted a footer of at most ${MAX_FOOTER_LENGTH} bytes, seen ${length}`,
    )
  }
  const end = fileSize - PARQUET_TAIL
  if (length > end - FIRST_OFFSET) {
    throw new ParquetFooterError('TRUNCATED', `a footer of ${length} bytes is longer than the file`)
  }
  return { start: end - length, end }
}

/**
 * Reads a footer that lies at `start` of its file.
 * @throws ParquetFooterError
 */
export function parseFooter(bytes: Uint8Array, start: number): ParquetFooter {
  const tree = decodeThrift(bytes)
  if (fieldOf(tree, 8) !== undefined) {
    throw new ParquetFooterError('ENCRYPTED', "the file has Parquet's own encryption")
  }
  const { columns, leaves } = parseLeaves(structsOf(tree, 2, 'schema'))
  const groups = structsOf(tree, 4, 'row groups').map(group => {
    const chunks = structsOf(group, 1, 'columns').map(placeOf)
    if (chunks.length !== leaves.length) {
      throw new ParquetFooterError(
        'METADATA',
        `wanted ${leaves.length} columns in each row group, seen ${chunks.length}`,
      )
    }
    return { rows: longOf(group, 3, 'rows'), chunks }
  })
  const ends = endsOf(
    groups.flatMap(({ chunks }) => chunks),
    start,
  )
  const rowGroups = groups.map(({ rows, chunks }) => ({
    rows,
    chunks: chunks.map((place, i) => chunkOf(place, ends, leaves[i], start)),
  }))
  return { tree, columns, rowGroups, start }
}

interface ChunkPlace {
  readonly metadata: ThriftStruct
  readonly start: number
  readonly size: number
  /** Where something else than pages begins: indexes and bloom filters. */
  readonly others: readonly number[]
}

function placeOf(chunk: ThriftStruct): ChunkPlace {
  if (fieldOf(chunk, 1) !== undefined) {
    throw new ParquetFooterError('METADATA', 'a column lies in another file')
  }
  if (fieldOf(chunk, 8) !== undefined || fieldOf(chunk, 9) !== undefined) {
    throw new ParquetFooterError('ENCRYPTED', "a column has Parquet's own encryption")
  }
  const metadata = fieldOf(chunk, 3)
  if (metadata?.type !== 'struct') {
    throw new ParquetFooterError('METADATA', 'a column without metadata')
  }
  const dictionary = optionalLong(metadata, 11)
  const data = longOf(metadata, 9, 'data page offset')
  const others = [
    optionalLong(chunk, 4),
    optionalLong(chunk, 6),
    optionalLong(metadata, 10),
    optionalLong(metadata, 14),
  ]
  return {
    metadata,
    // Some writers put 0 where there is no dictionary.
    start:
      dictionary === undefined || dictionary < FIRST_OFFSET ? data : Math.min(dictionary, data),
    size: longOf(metadata, 7, 'compressed size'),
    others: others.filter(offset => offset !== undefined),
  }
}

/**
 * Every offset at which something begins, sorted. A chunk reaches to the next one: a reader that
 * trusts page headers more than the chunk's size still finds nothing that was not opened.
 */
function endsOf(places: readonly ChunkPlace[], footerStart: number): Float64Array {
  const offsets = places.flatMap(({ start, others }) => [start, ...others])
  return Float64Array.from([...offsets, footerStart]).sort()
}

function chunkOf(
  { metadata, start, size }: ChunkPlace,
  ends: Float64Array,
  kind: LeafKind | undefined,
  footerStart: number,
): ColumnChunk {
  const end = Math.max(start + size, after(ends, start))
  if (start < FIRST_OFFSET || end > footerStart) {
    throw new ParquetFooterError(
      'METADATA',
      `wanted a column between ${FIRST_OFFSET} and ${footerStart}, seen ${start} to ${end}`,
    )
  }
  const statistics = fieldOf(metadata, 12)
  const bounds =
    statistics?.type === 'struct' && kind !== undefined ? boundsOf(statistics, kind) : undefined
  return { start, end, bounds }
}

/** The first of sorted offsets that is greater; the offset itself where there is none. */
function after(sorted: Float64Array, offset: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? 0) > offset) high = middle
    else low = middle + 1
  }
  return sorted[low] ?? offset
}

function structsOf(struct: ThriftStruct, id: number, what: string): readonly ThriftStruct[] {
  const list = fieldOf(struct, id)
  if (!isStructList(list)) throw new ParquetFooterError('METADATA', `${what}: wanted a list`)
  return list.values
}

/** Narrows to a list of structs, which an empty list of anything is too. */
export function isStructList(
  value: ThriftValue | undefined,
): value is ThriftList & { readonly values: readonly ThriftStruct[] } {
  return value?.type === 'list' && (value.element === 'struct' || value.values.length === 0)
}

function optionalLong(struct: ThriftStruct, id: number): number | undefined {
  const value = fieldOf(struct, id)
  if (value === undefined) return undefined
  const number = value.type === 'i64' ? Number(value.value) : -1
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new ParquetFooterError('METADATA', `field ${id}: wanted an offset or size`)
}

function longOf(struct: ThriftStruct, id: number, what: string): number {
  const value = optionalLong(struct, id)
  if (value === undefined) throw new ParquetFooterError('METADATA', `${what}: absent`)
  return value
}
