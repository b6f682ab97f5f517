import type { EventLog } from './event-log.ts'
import type { PccsState } from './state.ts'
import type { AccessToken } from './tokens.ts'

/** What the routes work with. */
export interface PccsService extends PccsState {
  /** Shown by platforms that register, in the header `user-token`. */
  readonly userToken: AccessToken
  /** Shown by administrators, in the header `admin-token`. */
  readonly adminToken: AccessToken
  readonly log: EventLog
  readonly counters: Counters
}

/** How many requests had which status. */
export class Counters {
  readonly #byStatus = new Map<number, number>()

  count(status: number): void {
    this.#byStatus.set(status, (this.#byStatus.get(status) ?? 0) + 1)
  }

  byStatus(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#byStatus].sort(([a], [b]) => a - b))
  }
}
