/** What tells a table's scans from others in a plan. */
export interface ScanSign {
  /** Name of the operator, such as `READ_CSV`. */
  readonly operator: string
  /** What the table's column names begin with; without it every such operator counts. */
  readonly marker: string | undefined
}

/**
 * Counts how often a plan (`EXPLAIN (FORMAT json)`) reads a table. A scan that names no column could
 * be any table's and counts for each; under a recursive query every scan counts as many.
 */
export function countStreamedScans(plan: unknown, sign: ScanSign): number {
  let scans = 0
  let recursive = false
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) {
      for (const child of node) visit(child)
      return
    }
    if (typeof node !== 'object' || node === null) return
    const { name, children, extra_info: info } = node as Record<string, unknown>
    const operator = String(name ?? '').trim()
    // RECURSIVE_CTE, REC_CTE, and their keyed kinds
    if (/^REC(URSIVE)?_/.test(operator)) recursive = true
    if (operator.startsWith(sign.operator) && couldBe(info, sign.marker)) scans += 1
    visit(children)
  }
  visit(plan)
  return recursive && scans > 0 ? Number.POSITIVE_INFINITY : scans
}

function couldBe(info: unknown, marker: string | undefined): boolean {
  if (marker === undefined || typeof info !== 'object' || info === null) return true
  const { Projections: projections, Filters: filters } = info as Record<string, unknown>
  const named = [projections, filters].flat().filter(value => value !== undefined)
  if (named.length === 0) return true
  const text = named.map(String).join('\n')
  return !text.includes('§') || text.includes(marker)
}
