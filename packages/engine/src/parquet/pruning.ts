import { type Comparison, comparisonsIn } from '../plan/comparisons.ts'
import type { ParquetFooter, RowGroup } from './footer.ts'
import type { Bounds, LeafKind } from './statistics.ts'

/** DuckDB keeps this many bytes of a text's least and greatest values. */
const TEXT_PREFIX = 8

const MICROSECONDS_A_DAY = 86_400_000_000n

/**
 * Whether a scan's filters leave anything of a row group. It says no only where DuckDB, which has
 * the same statistics, does not read the row group either: were it to read it, the query would fail,
 * since the bytes are not there.
 */
export function mayHaveRows(
  footer: ParquetFooter,
  rowGroup: RowGroup,
  filters: readonly string[],
): boolean {
  return filters.flatMap(comparisonsIn).every(comparison => {
    const column = footer.columns[comparison.column]
    if (column?.kind === undefined) return true
    const bounds = rowGroup.chunks[column.leaves.start]?.bounds
    return bounds === undefined || isWithin(comparison, column.kind, bounds)
  })
}

function isWithin(comparison: Comparison, kind: LeafKind, bounds: Bounds): boolean {
  const { operator } = comparison
  const constant = constantOf(comparison.constant, kind)
  if (constant === undefined) return true
  if (typeof constant !== 'bigint') return operator !== '=' || isTextWithin(constant, bounds)
  const { least, greatest } = bounds
  if (typeof least !== 'bigint' || typeof greatest !== 'bigint') return true
  switch (operator) {
    case '=':
      return least <= constant && greatest >= constant
    case '<':
      return least < constant
    case '<=':
      return least <= constant
    case '>':
      return greatest > constant
    case '>=':
      return greatest >= constant
  }
}

/** What a filter compares with; nothing for types whose order is not certain, as floating point. */
function constantOf(text: string, kind: LeafKind): bigint | Uint8Array | undefined {
  switch (kind) {
    case 'int32':
    case 'int64':
      return /^-?\d+$/.test(text) ? BigInt(text) : undefined
    case 'date': {
      const instant = instantOf(/^'(\d{4}-\d\d-\d\d)'::DATE$/.exec(text)?.[1])
      return instant === undefined ? undefined : instant / MICROSECONDS_A_DAY
    }
    case 'timestamp-ms':
    case 'timestamp-us':
      return instantOf(/^'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)'::TIMESTAMP$/.exec(text)?.[1])
    case 'string': {
      const quoted = /^'((?:[^']|'')*)'$/.exec(text)?.[1]
      return quoted === undefined ? undefined : Buffer.from(quoted.replaceAll("''", "'"))
    }
    case 'float':
    case 'double':
      return undefined
  }
}

/** Microseconds since 1970 of a date or instant in UTC. */
function instantOf(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined
  const milliseconds = Date.parse(`${text.replace(' ', 'T')}${text.includes(' ') ? 'Z' : ''}`)
  return Number.isNaN(milliseconds) ? undefined : BigInt(milliseconds) * 1000n
}

/** Compared as far as the constant goes, and no further than DuckDB's prefixes do. */
function isTextWithin(constant: Uint8Array, { least, greatest }: Bounds): boolean {
  if (!(least instanceof Uint8Array && greatest instanceof Uint8Array)) return true
  const prefix = constant.subarray(0, TEXT_PREFIX)
  const order = (bound: Uint8Array) => Buffer.compare(bound.subarray(0, prefix.length), prefix)
  return order(least) <= 0 && order(greatest) >= 0
}
