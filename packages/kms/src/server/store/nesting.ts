import { AsyncLocalStorage } from 'node:async_hooks'
import { StoreError } from './errors.ts'

/**
 * Whether transactions inside others are looked for, as in the tests: it costs something at every
 * `await` of the process. Without it such a mistake ends as BUSY, when the inner one's patience does.
 */
const isLookedFor = process.env['CLOISTER_ASSERTIONS'] === '1'

/** Finds a transaction that is asked for inside another, which would wait for itself. */
export class Nesting {
  readonly #inside = isLookedFor ? new AsyncLocalStorage<boolean>() : undefined

  /** Runs what is inside a transaction. */
  inside<T>(work: () => Promise<T>): Promise<T> {
    return this.#inside === undefined ? work() : this.#inside.run(true, work)
  }

  /** Runs what is not, though it is called from there. */
  outside(work: () => void): void {
    if (this.#inside === undefined) work()
    else this.#inside.run(false, work)
  }

  /** @throws StoreError NESTED */
  assertOutside(): void {
    if (this.#inside?.getStore() !== true) return
    throw new StoreError('NESTED', 'a transaction was asked for inside another')
  }
}
