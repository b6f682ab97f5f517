import { frontierRoot, grow } from '../../server/audit/tree.ts'

/** A row of an export, as it stands there. */
export interface ExportedRow {
  /** Line of the export, from 1. */
  readonly line: number
  /** What the line says. */
  readonly index: number
  /** What the line says, 64 hexadecimal digits. */
  readonly stated: string
  /** Hash of the row itself; `undefined` where only its hash was exported. */
  readonly seen: string | undefined
}

/** What is wrong with an export, and where. */
export interface LogFinding {
  readonly kind: 'changed' | 'removed' | 'inserted' | 'reordered' | 'checkpoint'
  /** First and last row concerned, from 0. */
  readonly rows: readonly [number, number]
  /** Line of the export, from 1. */
  readonly line: number
  readonly message: string
}

/** Rows between two checkpoints, and the tree before and after them. */
export interface Block {
  readonly rows: readonly ExportedRow[]
  readonly start: { readonly size: number; readonly frontier: readonly Uint8Array[] }
  readonly end: { readonly size: number; readonly rootHash: Uint8Array; readonly line: number }
}

/** Root of a tree after leaves were added to it; hashes in hexadecimal. */
export function rootAfter(start: Block['start'], hashes: readonly string[]): Uint8Array {
  let { frontier, size } = start
  for (const hash of hashes) {
    ;({ frontier } = grow(size, frontier, Buffer.from(hash, 'hex')))
    size++
  }
  return frontierRoot(frontier)
}

/** Whether leaf hashes lead from the tree before the block to the one after it. */
function leadOn({ start, end }: Block, hashes: readonly string[]): boolean {
  if (hashes.length !== end.size - start.size) return false
  return Buffer.compare(rootAfter(start, hashes), end.rootHash) === 0
}

/** Rows among which one too many, or two that changed places, are looked for by trying. */
const MAX_SEARCHED_ROWS = 512

/**
 * What is wrong with the rows between two checkpoints that are signed; nothing, if nothing.
 * @param maySearch - Whether to try what takes as many hashes as there are pairs of rows
 */
export function examine(block: Block, maySearch: boolean): readonly LogFinding[] {
  const { rows, start } = block
  const stated = rows.map(row => row.stated)
  if (leadOn(block, stated)) {
    const places = rows.every((row, offset) => row.index === start.size + offset)
    return places ? contents(block, rows) : rows.flatMap((row, at) => misnamed(block, row, at))
  }
  const places = byPlace(block)
  if (places.isCertain) return places.found
  const isSearched = maySearch && rows.length <= MAX_SEARCHED_ROWS
  const found = byContent(block) ?? (isSearched ? bySearch(block) : undefined)
  if (found !== undefined) return found
  return places.found.length > 0 ? places.found : byNumber(block)
}

/** The hashes are the log's: each row must be what its hash says. */
function contents({ start }: Block, rows: readonly ExportedRow[]): readonly LogFinding[] {
  const places = new Map(rows.map(({ stated }, offset) => [stated, start.size + offset]))
  return rows.flatMap(({ line, seen, stated }, offset) => {
    if (seen === undefined || seen === stated) return []
    const index = start.size + offset
    const other = places.get(seen)
    return other === undefined
      ? [finding('changed', index, line, `row ${index} was changed`)]
      : [finding('reordered', index, line, `in the place of row ${index} stands row ${other}`)]
  })
}

/** The hash is in its place, and the number beside it is another. */
function misnamed({ start }: Block, { index, line }: ExportedRow, at: number) {
  const wanted = start.size + at
  if (index === wanted) return []
  return [finding('changed', wanted, line, `row ${wanted} is numbered ${index}`)]
}

/**
 * Lines were moved, taken away or added, and still say which rows they are. Certain when the rest
 * leads on.
 */
function byPlace(block: Block): {
  readonly found: readonly LogFinding[]
  readonly isCertain: boolean
} {
  const { end, rows, start } = block
  const found: LogFinding[] = []
  const first = new Map<number, ExportedRow>()
  let highest = start.size - 1
  for (const row of rows) {
    const { index, line } = row
    const isForeign = index < start.size || index >= end.size
    if (isForeign || first.has(index)) {
      found.push(finding('inserted', index, line, `a row numbered ${index} was inserted`))
      continue
    }
    first.set(index, row)
    if (index < highest) {
      found.push(finding('reordered', index, line, `row ${index} stands behind row ${highest}`))
    }
    highest = Math.max(highest, index)
  }
  const ordered = [...first.values()].sort((a, b) => a.index - b.index)
  const stated = ordered.map(row => row.stated)
  if (leadOn(block, stated)) {
    return { found: [...found, ...contents(block, ordered)], isCertain: found.length > 0 }
  }
  return { found: [...found, ...gaps(block, first, highest), ...unlike(ordered)], isCertain: false }
}

/** Rows that are not there. Of those behind the last it cannot be told that no row was renumbered. */
function gaps(
  { end, start }: Block,
  there: ReadonlyMap<number, ExportedRow>,
  highest: number,
): readonly LogFinding[] {
  const found: LogFinding[] = []
  for (let index = start.size; index <= highest; index++) {
    if (there.has(index)) continue
    found.push(finding('removed', index, end.line, `row ${index} was removed`))
  }
  const behind = end.size - 1 - highest
  if (behind === 0) return found
  const among = `row ${highest + 1} on, or others of rows ${start.size} to ${end.size - 1}`
  const message = `${behind} removed: ${among}, and those behind them numbered anew`
  return [...found, { kind: 'removed', rows: [start.size, end.size - 1], line: end.line, message }]
}

/** The rows are the log's, and a hash beside one of them is not. */
function byContent(block: Block): readonly LogFinding[] | undefined {
  const hashes = block.rows.map(({ seen, stated }) => seen ?? stated)
  return leadOn(block, hashes) ? unlike(block.rows) : undefined
}

/** Rows whose hash is not the one beside them, where nothing says which of both is the log's. */
function unlike(rows: readonly ExportedRow[]): readonly LogFinding[] {
  return rows.flatMap(({ index, line, seen, stated }) =>
    seen === undefined || seen === stated
      ? []
      : [finding('changed', index, line, `row ${index} was changed, or the hash beside it`)],
  )
}

/** One line too many, or two neighbours that changed places, numbered anew: found by trying. */
function bySearch(block: Block): readonly LogFinding[] | undefined {
  const { rows } = block
  const hashes = rows.map(({ seen, stated }) => seen ?? stated)
  for (const [at, { index, line }] of rows.entries()) {
    if (leadOn(block, hashes.toSpliced(at, 1))) {
      return [finding('inserted', index, line, `the row numbered ${index} was inserted`)]
    }
    const next = hashes[at + 1]
    if (next !== undefined && leadOn(block, hashes.toSpliced(at, 2, next, hashes[at] ?? ''))) {
      return [finding('reordered', index, line, `rows ${index} and ${index + 1} changed places`)]
    }
  }
  return undefined
}

/** Whoever changed it made the hashes and numbers anew: the signed checkpoints bound the place. */
function byNumber({ end, rows, start }: Block): readonly LogFinding[] {
  const among = `rows ${start.size} to ${end.size - 1}`
  const more = rows.length - (end.size - start.size)
  const [kind, message] =
    more === 0
      ? (['changed', `one or more of ${among} were changed, with the hashes beside them`] as const)
      : more > 0
        ? (['inserted', `${more} rows were inserted among ${among}`] as const)
        : (['removed', `${-more} rows were removed from ${among}`] as const)
  return [{ kind, rows: [start.size, end.size - 1], line: end.line, message }]
}

function finding(kind: LogFinding['kind'], row: number, line: number, message: string): LogFinding {
  return { kind, rows: [row, row], line, message }
}
