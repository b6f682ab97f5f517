import { CollateralUnavailableError } from './errors.ts'

/** Lets some work run at once, more wait, and turns the rest away. */
export class Gate {
  readonly #mostAtOnce: number
  readonly #mostWaiting: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(mostAtOnce: number, mostWaiting: number) {
    this.#mostAtOnce = mostAtOnce
    this.#mostWaiting = mostWaiting
  }

  /** Runs work in its turn. @throws CollateralUnavailableError BUSY when too much is waiting */
  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#mostAtOnce) {
      if (this.#waiting.length >= this.#mostWaiting) {
        throw new CollateralUnavailableError('BUSY', what)
      }
      // Whoever finishes hands its place on.
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    } else {
      this.#running++
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}
