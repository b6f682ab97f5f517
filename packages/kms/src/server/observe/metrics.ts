import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Store } from '../store/index.ts'
import type { OutstandingChallenges } from './outstanding-challenges.ts'
import { WEAK_SWITCHES, type WeakSwitch } from './weak-switches.ts'

/** How a request ended. No member is what a client wrote: each has a bounded set of values. */
export interface Outcome {
  /** The operation: its id in the OpenAPI document, or `ehsm.` and an action of eHSM's; else `unknown`. */
  readonly action: string
  /** `OK` or the refusal's code; of eHSM's interface the envelope's. */
  readonly code: string
  /** Codes of a refusal's grounds. */
  readonly reasons: readonly string[]
}

/** What is looked at when metrics are asked for. */
export interface Watched {
  readonly challenges: OutstandingChallenges
  readonly now: () => Date
  readonly weakSwitches: readonly WeakSwitch[]
  readonly isReady: () => Promise<boolean>
  readonly requestsInFlight: () => number
  /** Rows that the audit log is to have with its next batch. */
  readonly auditRowsWaiting: () => number
  /** The store's own. */
  readonly storeFigures: () => Store['figures']
}

/** From half a millisecond, which a use of a cached key takes, to the time a request may take. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30]

/** Reasons are codes of the source; should one not be, they still take no room without end. */
const MAX_REASONS = 300
const REASON = /^[A-Z][A-Z0-9_]{0,63}$/

/**
 * What a key service counts of itself, for Prometheus. Labels are words of the source alone: no id of
 * an account, key or request, no address, nothing that a client wrote.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #reasons = new Set<string>()

  readonly #seconds = new Histogram({
    name: 'cloister_request_seconds',
    help: 'Time from the head of a request to the end of its answer, by operation.',
    labelNames: ['action'],
    buckets: SECONDS,
    registers: [this.#registry],
  })

  readonly #answers = new Counter({
    name: 'cloister_answers_total',
    help: "Answers by operation and code: OK or the refusal's; of eHSM's interface the envelope's.",
    labelNames: ['action', 'code'],
    registers: [this.#registry],
  })

  readonly #denials = new Counter({
    name: 'cloister_denials_total',
    help: 'Refusals by the codes of their grounds; a refusal with several counts for each.',
    labelNames: ['reason'],
    registers: [this.#registry],
  })

  readonly #releases = new Counter({
    name: 'cloister_releases_total',
    help: 'Releases of data keys to attested instances.',
    registers: [this.#registry],
  })

  readonly #releasedKeys = new Counter({
    name: 'cloister_released_keys_total',
    help: 'Data keys that were released to attested instances.',
    registers: [this.#registry],
  })

  readonly #store = new Histogram({
    name: 'cloister_store_seconds',
    help: 'Time of a transaction of the database, its waiting included.',
    labelNames: ['kind'],
    buckets: SECONDS,
    registers: [this.#registry],
  })

  readonly #limited = new Counter({
    name: 'cloister_rate_limited_total',
    help: 'Requests refused for their rate, by what the limit is on.',
    labelNames: ['by'],
    registers: [this.#registry],
  })

  constructor() {
    for (const by of ['account', 'address']) this.#limited.inc({ by }, 0)
  }

  /** Counts the answer to a request. */
  answered({ action, code, reasons }: Outcome, seconds: number): void {
    this.#seconds.observe({ action }, seconds)
    this.#answers.inc({ action, code })
    for (const reason of reasons) this.#denials.inc({ reason: this.#bounded(reason) })
  }

  /** Counts a release. */
  released(keys: number): void {
    this.#releases.inc()
    this.#releasedKeys.inc(keys)
  }

  /** Counts a transaction of the database. */
  stored(kind: 'read' | 'write', milliseconds: number): void {
    this.#store.observe({ kind }, milliseconds / 1000)
  }

  /** Counts a request that was refused for its rate. */
  limited(by: 'account' | 'address'): void {
    this.#limited.inc({ by })
  }

  /** Also tells what a running service looks like, and its process. Once. */
  watch(watched: Watched): void {
    const registers = [this.#registry]
    const gauge = (name: string, help: string, value: () => number | Promise<number>) =>
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          this.set(await value())
        },
      })
    gauge('cloister_ready', '1 where /readyz says so, else 0.', async () =>
      (await watched.isReady()) ? 1 : 0,
    )
    gauge('cloister_requests_in_flight', 'Requests that are not answered yet.', () =>
      watched.requestsInFlight(),
    )
    gauge(
      'cloister_challenges_outstanding',
      'Challenges issued by this process within their life of five minutes, and not used at it.',
      () => watched.challenges.count(watched.now()),
    )
    gauge(
      'cloister_audit_rows_waiting',
      'Rows that the audit log is to have with its next batch.',
      () => watched.auditRowsWaiting(),
    )
    gauge(
      'cloister_store_writes_waiting',
      'Transactions that wait for their turn to write.',
      () => watched.storeFigures().writesWaiting,
    )
    gauge(
      'cloister_row_cache_rows',
      'Proven rows of keys, accounts and the like in memory.',
      () => watched.storeFigures().rows,
    )
    const lookups = new Counter({
      name: 'cloister_row_cache_lookups_total',
      help: 'Rows asked for by id: hit where one was in memory and is the present one.',
      labelNames: ['result'],
      registers,
      collect() {
        const { hits, misses } = watched.storeFigures()
        lookups.reset()
        lookups.inc({ result: 'hit' }, hits)
        lookups.inc({ result: 'miss' }, misses)
      },
    })
    const weak = new Gauge({
      name: 'cloister_weak_switch',
      help: '1 for each choice of the operator that weakens this service, else 0.',
      labelNames: ['switch'],
      registers,
    })
    for (const name of Object.keys(WEAK_SWITCHES)) weak.set({ switch: name }, 0)
    for (const name of watched.weakSwitches) weak.set({ switch: name }, 1)
    collectDefaultMetrics({ register: this.#registry })
  }

  /** All of it in the text format of Prometheus, with its media type. */
  async text(): Promise<{ readonly type: string; readonly text: string }> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  #bounded(reason: string): string {
    if (this.#reasons.has(reason)) return reason
    if (this.#reasons.size >= MAX_REASONS || !REASON.test(reason)) return 'OTHER'
    this.#reasons.add(reason)
    return reason
  }
}
