/** Writes events as lines of JSON: a name, the time, and fields that are never secrets. */
export class EventLog {
  readonly #sink: ((line: string) => void) | undefined
  readonly #now: () => Date

  /** @param sink - Takes each line; without one nothing is logged. */
  constructor(sink: ((line: string) => void) | undefined, now: () => Date) {
    this.#sink = sink
    this.#now = now
  }

  /** Writes an event. Callers give routes and codes, never headers or bodies. */
  write(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    if (this.#sink === undefined) return
    this.#sink(JSON.stringify({ at: this.#now().toISOString(), event, ...fields }))
  }
}

const MAX_CAUSES = 5

/** Names, codes and messages of an error and what caused it; no stacks and no values. */
export function errorChain(error: unknown): readonly string[] {
  const chain: string[] = []
  for (let at = error; at instanceof Error && chain.length < MAX_CAUSES; at = at.cause) {
    const code = 'code' in at ? ` [${String(at.code)}]` : ''
    chain.push(`${at.name}${code}: ${at.message}`)
  }
  return chain
}
