import { StoreError } from '../errors.ts'

/** How long the database's time is gone by without its being asked again. */
const MAX_AGE_MS = 30_000

/** How far the machine's own clocks may part before it is taken for asleep, or set anew. */
const MAX_DRIFT_MS = 2000

interface Measurement {
  /** The database's time less the monotonic time. */
  readonly offset: number
  readonly takenAt: number
  /** The machine's time less the monotonic time. */
  readonly machineOffset: number
}

/**
 * The database's time, so that replicas on machines with clocks of their own agree to within a round
 * trip. It is measured again and again, goes on with the machine's monotonic clock between, and
 * never goes back.
 */
export class DatabaseClock {
  readonly #monotonic: () => number
  readonly #machine: () => number
  #measured: Measurement | undefined
  #last = 0

  /** Clocks in milliseconds; this process's and this machine's unless told. */
  constructor(
    monotonic: () => number = () => performance.now(),
    machine: () => number = () => Date.now(),
  ) {
    this.#monotonic = monotonic
    this.#machine = machine
  }

  /** An instant to measure from: before the database is asked. */
  start(): number {
    return this.#monotonic()
  }

  /** Takes what the database answered, in milliseconds since 1970, having been asked at `start`. */
  observe(databaseTime: number, start: number): void {
    const takenAt = this.#monotonic()
    // It read its clock between the two.
    const offset = databaseTime - (start + takenAt) / 2
    this.#measured = { offset, takenAt, machineOffset: this.#machine() - takenAt }
  }

  /** The time. @throws StoreError CLOCK when it was not measured lately */
  now(): Date {
    const at = this.#monotonic()
    const { machineOffset, offset, takenAt } = this.#measured ?? NEVER
    const drift = this.#machine() - at - machineOffset
    if (at - takenAt > MAX_AGE_MS || Math.abs(drift) > MAX_DRIFT_MS) {
      throw new StoreError('CLOCK', 'the database has not told its time for too long')
    }
    this.#last = Math.max(this.#last, Math.floor(at + offset))
    return new Date(this.#last)
  }
}

const NEVER: Measurement = { offset: 0, takenAt: Number.NEGATIVE_INFINITY, machineOffset: 0 }
