import type { Writable } from 'node:stream'
import { listed, type Registration } from '../platforms/registration.ts'
import { PccsError } from './pccs-error.ts'
import type { PccsService } from './service.ts'

/** Platforms, as `GET /platforms` gives them. */
export interface PlatformList {
  readonly rows: readonly Registration[]
  /** Takes what waited off the queue, once it has gone out whole. */
  handOver(response: Writable): void
}

/** Lists of platforms: those that wait in the queue are handed out once. */
export class PlatformLists {
  readonly #service: PccsService
  /** Keys of what is being handed out just now. */
  readonly #going = new Set<string>()

  constructor(service: PccsService) {
    this.#service = service
  }

  /**
   * A list by its source: `REG` what waits, `REG_NA` what the vendor has no certificate for yet, or
   * `[FMSPC,…]` registered platforms, all where there is none.
   * @throws PccsError INVALID_REQUEST
   */
  async of(source = 'REG'): Promise<PlatformList> {
    if (source === 'REG') return await this.#queued('new')
    if (source === 'REG_NA') return await this.#queued('notAvailable')
    const fmspcs = /^\[([^\]]*)\]$/
      .exec(source)?.[1]
      ?.split(',')
      .map(one => one.trim())
    const wanted = fmspcs?.filter(one => one !== '')
    if (wanted === undefined || !wanted.every(one => /^[0-9A-F]{12}$/.test(one))) {
      throw new PccsError('INVALID_REQUEST', 'source: wanted reg, reg_na or [FMSPC,FMSPC,…]')
    }
    const rows: Registration[] = []
    for await (const [, record] of this.#service.records.entries()) {
      if (wanted.length === 0 || wanted.includes(record.fmspc)) rows.push(...listed(record))
    }
    return { rows, handOver: () => {} }
  }

  async #queued(state: 'new' | 'notAvailable'): Promise<PlatformList> {
    const rows: Registration[] = []
    const keys: string[] = []
    for await (const [key, one] of this.#service.queue.entries()) {
      if (one.state !== state || this.#going.has(key)) continue
      this.#going.add(key)
      rows.push(one.registration)
      keys.push(key)
    }
    return { rows, handOver: response => this.#handOver(response, keys) }
  }

  #handOver(response: Writable, keys: readonly string[]): void {
    response.once('close', () => {
      const gone = response.writableFinished ? this.#remove(keys) : Promise.resolve()
      gone
        .catch((error: unknown) =>
          this.#service.log.write('queue-failed', { error: String(error) }),
        )
        .finally(() => {
          for (const key of keys) this.#going.delete(key)
        })
    })
  }

  async #remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) await this.#service.queue.delete(key)
  }
}
