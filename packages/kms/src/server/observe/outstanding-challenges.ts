import { CHALLENGE_LIFE_MS } from '../attest/challenge.ts'

/** Challenges are counted together that were issued within one such span. */
const SPAN_MS = 5000
const SPANS = CHALLENGE_LIFE_MS / SPAN_MS + 1

/**
 * How many challenges that this process issued may still be used. Nothing is kept of any one of them,
 * so that a flood takes no room: numbers alone, by the time of issue.
 */
export class OutstandingChallenges {
  readonly #counts = new Array<number>(SPANS).fill(0)
  #newest = 0

  /** Counts one that is issued now. */
  issued(at: Date): void {
    const place = this.#forward(at) % SPANS
    this.#counts[place] = (this.#counts[place] ?? 0) + 1
  }

  /** Counts one as used; of another replica's nothing is known here. */
  used(issuedAt: Date, at: Date): void {
    const newest = this.#forward(at)
    const span = spanOf(issuedAt)
    const count = this.#counts[span % SPANS] ?? 0
    if (span > newest - SPANS && span <= newest && count > 0) this.#counts[span % SPANS] = count - 1
  }

  /** How many there are. */
  count(at: Date): number {
    this.#forward(at)
    return this.#counts.reduce((sum, count) => sum + count, 0)
  }

  /** Forgets what ended, and gives the span of now. */
  #forward(at: Date): number {
    const span = Math.max(spanOf(at), this.#newest)
    const gone = Math.min(span - this.#newest, SPANS)
    for (let after = span - gone + 1; after <= span; after++) this.#counts[after % SPANS] = 0
    this.#newest = span
    return span
  }
}

const spanOf = (at: Date) => Math.floor(at.getTime() / SPAN_MS)
