/** Writes events as lines of JSON: a name, the time, and fields that are never secrets. */
export class EventLog {
  readonly #sink: ((line: string) => void) | undefined
  readonly #now: () => Date

  /** @param sink - Takes each line; without one nothing is logged. */
  constructor(sink: ((line: string) => void) | undefined, now: () => Date) {
    this.#sink = sink
    this.#now = now
  }

  /** Writes an event. Callers give routes, codes and names of documents, never headers or bodies. */
  write(event: string, fields: object = {}): void {
    this.#sink?.(JSON.stringify({ at: this.#now().toISOString(), event, ...fields }))
  }
}
