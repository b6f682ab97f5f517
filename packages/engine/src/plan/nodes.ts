/** An operator of DuckDB's plan, as `EXPLAIN (FORMAT json)` gives it. */
export interface PlanNode {
  /** Such as `READ_PARQUET`. */
  readonly name: string
  /** Everything that is said of it; texts, or lists of texts. */
  readonly info: Readonly<Record<string, unknown>>
}

/** Every operator of a plan, from the top down. What is no plan has none. */
export function* nodesOf(plan: unknown): Generator<PlanNode, void, undefined> {
  if (Array.isArray(plan)) {
    for (const child of plan) yield* nodesOf(child)
    return
  }
  if (typeof plan !== 'object' || plan === null) return
  const { name, children, extra_info: info } = plan as Record<string, unknown>
  yield {
    name: String(name ?? '').trim(),
    info: typeof info === 'object' && info !== null ? { ...info } : {},
  }
  yield* nodesOf(children)
}

/** What an operator says under a heading: none, one text or several. */
export function textsOf({ info }: PlanNode, heading: string): readonly string[] {
  return [info[heading]].flat().filter(value => typeof value === 'string')
}
