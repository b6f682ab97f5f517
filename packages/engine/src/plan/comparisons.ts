/** `column operator constant`, as a scan's filter says it. */
export interface Comparison {
  readonly column: number
  readonly operator: '=' | '<' | '<=' | '>' | '>='
  /** The constant in DuckDB's spelling, such as `20`, `'ada'` or `'2020-01-31'::DATE`. */
  readonly constant: string
}

const COMPARISON = /t\d+§(\d+)§(=|<=|<|>=|>)(-?\d+|'(?:[^']|'')*'(?:::[A-Z]+)?)(?=$| AND )/y

/**
 * The comparisons that a scan's filter consists of: `c>=20 AND c<=40`. Of anything else in it, it
 * says nothing, and then nothing may be concluded from it.
 */
export function comparisonsIn(filter: string): readonly Comparison[] {
  const found: Comparison[] = []
  const pattern = new RegExp(COMPARISON)
  for (let at = 0; ; at += ' AND '.length) {
    pattern.lastIndex = at
    const match = pattern.exec(filter)
    if (match === null) return []
    const [whole, column, operator, constant = ''] = match
    found.push({ column: Number(column), operator: operator as Comparison['operator'], constant })
    at += whole.length
    if (at === filter.length) return found
  }
}
