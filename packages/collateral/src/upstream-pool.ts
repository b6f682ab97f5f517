import { setTimeout as sleep } from 'node:timers/promises'
import { CodedError } from '@cloister/attestation'
import { CollateralUnavailableError, UpstreamError } from './errors.ts'
import { Gate } from './gate.ts'
import type { Upstream } from './upstream.ts'

/** How one upstream did. */
export interface UpstreamHealth {
  readonly name: string
  /** Asked last, for a minute after a failure. */
  readonly isHealthy: boolean
  readonly answers: number
  readonly failures: number
  readonly lastFailure: string | undefined
}

const ATTEMPTS = 3
const BACKOFF_MS = 200
const UNHEALTHY_MS = 60_000
const MOST_AT_ONCE = 16
const MOST_WAITING = 256

/** Several services for the same, asked in order until one gives what verifies. */
export class UpstreamPool {
  readonly #upstreams: readonly Upstream[]
  readonly #now: () => Date
  readonly #gate = new Gate(MOST_AT_ONCE, MOST_WAITING)
  readonly #tallies = new Map<Upstream, Tally>()

  /** @param upstreams - Asked in this order; one that failed is asked last for a minute. */
  constructor(upstreams: readonly Upstream[], now: () => Date) {
    this.#upstreams = upstreams
    this.#now = now
  }

  /**
   * Asks one upstream after the other.
   * @param what - For messages.
   * @param fetch - Downloads; not many do at once. Faults that pass are tried again.
   * @param verify - Accepts what was downloaded, or throws a coded error.
   * @throws CollateralUnavailableError UNAVAILABLE with every upstream's reason, BUSY
   */
  async ask<Raw, Good>(
    what: string,
    fetch: (upstream: Upstream) => Promise<Raw>,
    verify: (raw: Raw) => Promise<Good>,
  ): Promise<{ readonly good: Good; readonly from: string }> {
    const failures: { from: string; error: Error }[] = []
    for (const upstream of this.#inOrder()) {
      try {
        const raw = await this.#patiently(what, () => fetch(upstream))
        const good = await verify(raw)
        this.#tally(upstream).answered()
        return { good, from: upstream.name }
      } catch (error) {
        // What is missing beside the document is nobody's fault who gave the document.
        if (!(error instanceof CodedError) || error instanceof CollateralUnavailableError)
          throw error
        failures.push({ from: upstream.name, error })
        this.#tally(upstream).failed(error, this.#now())
      }
    }
    throw new CollateralUnavailableError('UNAVAILABLE', what, failures)
  }

  /** How each upstream did, in the order they were given. */
  health(): readonly UpstreamHealth[] {
    return this.#upstreams.map(upstream => {
      const { answers, failures, lastFailure } = this.#tally(upstream)
      const isHealthy = !this.#isIll(upstream)
      return { name: upstream.name, isHealthy, answers, failures, lastFailure }
    })
  }

  #tally(upstream: Upstream): Tally {
    const tally = this.#tallies.get(upstream) ?? new Tally()
    this.#tallies.set(upstream, tally)
    return tally
  }

  #inOrder(): readonly Upstream[] {
    const isIll = (upstream: Upstream) => this.#isIll(upstream)
    return [...this.#upstreams.filter(one => !isIll(one)), ...this.#upstreams.filter(isIll)]
  }

  #isIll(upstream: Upstream): boolean {
    return this.#now().getTime() - this.#tally(upstream).failedAt < UNHEALTHY_MS
  }

  /** Asks again after faults that pass, each time after a longer wait that nobody can foretell. */
  async #patiently<Raw>(what: string, fetch: () => Promise<Raw>): Promise<Raw> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#gate.run(what, fetch)
      } catch (error) {
        const again = error instanceof UpstreamError && error.isTransient && attempt < ATTEMPTS
        if (!again) throw error
      }
      await sleep(BACKOFF_MS * 2 ** attempt * (0.5 + Math.random()))
    }
  }
}

class Tally {
  answers = 0
  failures = 0
  failedAt = Number.NEGATIVE_INFINITY
  lastFailure: string | undefined

  answered(): void {
    this.answers++
    this.failedAt = Number.NEGATIVE_INFINITY
  }

  failed(error: Error, at: Date): void {
    this.failures++
    this.lastFailure = error.message
    // Whoever says that it has none of it is well.
    const isWell = error instanceof UpstreamError && (error.status === 404 || error.status === 410)
    if (!isWell) this.failedAt = at.getTime()
  }
}
