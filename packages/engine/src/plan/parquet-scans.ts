import { nodesOf, type PlanNode, textsOf } from './nodes.ts'

/** One reading of a table by a query. */
export interface ParquetScan {
  /** Indexes of the columns it may touch. */
  readonly columns: ReadonlySet<number>
  /** What DuckDB's scan itself drops rows by, one text for each column, in DuckDB's spelling. */
  readonly filters: readonly string[]
}

/**
 * The name that a column has inside DuckDB, so that a plan tells whose it is. It ends in a mark, so
 * that no column's name begins another's.
 */
export function markedColumn(table: number, column: number): string {
  return `t${table}§${column}§`
}

/**
 * How a plan reads a table whose columns bear its marks. A column that is named anywhere in the plan
 * outside of scans is taken to be touched by each of them: a column too many costs time, one too few
 * is a failed query.
 */
export function parquetScansIn(plan: unknown, table: number): readonly ParquetScan[] {
  const nodes = [...nodesOf(plan)]
  const isScan = ({ name }: PlanNode) => name.startsWith('READ_PARQUET')
  const elsewhere = nodes.filter(node => !isScan(node)).flatMap(node => [...columnsIn(node, table)])
  return nodes.filter(isScan).flatMap(node => {
    const named = columnsIn(node, table)
    if (named.size === 0 && elsewhere.length === 0) return []
    return [{ columns: new Set([...named, ...elsewhere]), filters: textsOf(node, 'Filters') }]
  })
}

function columnsIn({ info }: PlanNode, table: number): ReadonlySet<number> {
  const found = JSON.stringify(info).matchAll(new RegExp(`(?<![0-9A-Za-z])t${table}§(\\d+)§`, 'g'))
  return new Set(Array.from(found, ([, column]) => Number(column)))
}
