/**
 * Bytes of a digest. Two requests whose digests are the same by chance, one in 2^64, would pass for
 * one: the second would be refused. Of an account's own requests it can make two such; of another's
 * it would have to guess the nonce and try 2^64 times.
 */
export const DIGEST_LENGTH = 8

/** Digests that are kept and forgotten together are of the same so many seconds. */
const SECONDS_TOGETHER = 60

const FIRST_SLOTS = 1024
/** Share of slots that may be taken. */
const MAX_LOAD = 0.6

/**
 * Digests of the last minutes, each with the second that it is of, in some 20 bytes each: there may be
 * millions.
 */
export class RecentDigests {
  readonly #keptSeconds: number
  readonly #tables = new Map<number, DigestTable>()

  /** @param keptSeconds - For how long after its second a digest is kept. */
  constructor(keptSeconds: number) {
    this.#keptSeconds = keptSeconds
  }

  /** Adds a digest; whether it was new. */
  add(digest: Buffer, second: number): void {
    const period = periodOf(second)
    const table = this.#tables.get(period) ?? new DigestTable()
    table.add(digest.readUInt32BE(0), digest.readUInt32BE(4))
    this.#tables.set(period, table)
  }

  has(digest: Buffer, second: number): boolean {
    const table = this.#tables.get(periodOf(second))
    return table?.has(digest.readUInt32BE(0), digest.readUInt32BE(4)) ?? false
  }

  /** Forgets what is older than it need be kept. */
  forgetBefore(nowSecond: number): void {
    for (const period of this.#tables.keys()) {
      const last = (period + 1) * SECONDS_TOGETHER
      if (last + this.#keptSeconds < nowSecond) this.#tables.delete(period)
    }
  }
}

const periodOf = (second: number): number => Math.floor(second / SECONDS_TOGETHER)

/** A hash table of pairs of 32 bits with open addressing; the pair 0, 0 stands for an empty slot. */
class DigestTable {
  #slots = new Uint32Array(2 * FIRST_SLOTS)
  #size = 0

  add(high: number, low: number): void {
    if (this.#size >= (this.#slots.length / 2) * MAX_LOAD) this.#grow()
    const at = this.#find(high, low)
    if (this.#isTaken(at)) return
    this.#slots[at] = high
    this.#slots[at + 1] = lowOf(high, low)
    this.#size++
  }

  has(high: number, low: number): boolean {
    return this.#isTaken(this.#find(high, low))
  }

  /** The slot of a pair, or the empty one where it would be. */
  #find(high: number, low: number): number {
    const slots = this.#slots
    const wanted = lowOf(high, low)
    for (let at = 2 * (high % (slots.length / 2)); ; at = (at + 2) % slots.length) {
      const isIt = slots[at] === high && slots[at + 1] === wanted
      if (isIt || !this.#isTaken(at)) return at
    }
  }

  #isTaken(at: number): boolean {
    return this.#slots[at] !== 0 || this.#slots[at + 1] !== 0
  }

  #grow(): void {
    const before = this.#slots
    this.#slots = new Uint32Array(2 * before.length)
    this.#size = 0
    for (let at = 0; at < before.length; at += 2) {
      const [high = 0, low = 0] = [before[at], before[at + 1]]
      if (high !== 0 || low !== 0) this.add(high, low)
    }
  }
}

/** The pair that stands for an empty slot is counted as its neighbour. */
const lowOf = (high: number, low: number): number => (high === 0 && low === 0 ? 1 : low)
