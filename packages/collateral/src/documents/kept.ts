import type { Entry } from './document-cache.ts'

/** What an entry takes beside its bytes: objects, certificates that were parsed. */
const OVERHEAD = 4096

/** Entries in memory, up to a number of bytes. Whoever was not asked for longest goes first. */
export class Kept {
  readonly #mostBytes: number
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  get(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      this.#entries.delete(key)
      this.#entries.set(key, entry)
    }
    return entry
  }

  all(): readonly Entry[] {
    return [...this.#entries.values()]
  }

  set(key: string, entry: Entry): void {
    this.delete(key)
    this.#entries.set(key, entry)
    this.#bytes += sizeOf(entry)
    for (const [oldest, { content }] of this.#entries) {
      if (this.#bytes <= this.#mostBytes) break
      // All else is verified by the lists: they stay.
      if (content.kind !== 'crl' && oldest !== key) this.delete(oldest)
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#bytes -= sizeOf(entry)
  }
}

function sizeOf({ raw }: Entry): number {
  // The bytes, and what was read from them.
  return 3 * raw.body.length + raw.chain.length + OVERHEAD
}
