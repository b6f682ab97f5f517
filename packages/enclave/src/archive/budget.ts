import { LockError } from '../lock/errors.ts'

const MAX_ENTRIES = 500_000
const MIB = 1024 * 1024
/** What any package may unpack to, however small it is packed. */
const FREE_BYTES = 256 * MIB
/** Beyond that, how many times its packed size. Real packages stay far below: text packs 20 to 1. */
const MAX_RATIO = 200
const MAX_BYTES = 32 * 1024 * MIB

/** How much an archive may still unpack to: an archive of zeros must not fill the disk. */
export class ArchiveBudget {
  readonly #name: string
  readonly #limit: number
  #bytes = 0
  #entries = 0

  /**
   * @param name - The archive, for messages.
   * @param packedBytes - Its size.
   */
  constructor(name: string, packedBytes: number) {
    this.#name = name
    this.#limit = Math.min(MAX_BYTES, Math.max(FREE_BYTES, packedBytes * MAX_RATIO))
  }

  /** Counts an entry. @throws LockError ARCHIVE */
  entry(): void {
    this.#entries += 1
    if (this.#entries > MAX_ENTRIES) {
      throw new LockError('ARCHIVE', `${this.#name} holds more than ${MAX_ENTRIES} entries`)
    }
  }

  /** Counts bytes. @throws LockError ARCHIVE */
  spend(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#limit) {
      throw new LockError('ARCHIVE', `${this.#name} unpacks to more than ${this.#limit} bytes`)
    }
  }
}
