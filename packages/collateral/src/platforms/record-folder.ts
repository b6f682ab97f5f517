import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { filesIn, writeWhole } from '../documents/store.ts'
import { PlatformError } from '../errors.ts'

const MOST_IN_MEMORY = 1024

/**
 * Records in a folder, a file of JSON each, up to a number of them. Those used last are in memory.
 * Whoever can write to the folder can change them: it is the service's own.
 */
export class RecordFolder<T> {
  readonly #folder: string
  readonly #ending: string
  readonly #most: number
  readonly #keys: Set<string>
  readonly #memory = new Map<string, T>()

  private constructor(folder: string, ending: string, most: number, keys: Set<string>) {
    this.#folder = folder
    this.#ending = ending
    this.#most = most
    this.#keys = keys
  }

  /**
   * Opens a folder, which is made at the first record.
   * @param ending - Of its files' names, such as `.platform`.
   */
  static async open<T>(folder: string, ending: string, most: number): Promise<RecordFolder<T>> {
    const files = await filesIn(folder, ending)
    const keys = new Set(files.map(file => file.slice(0, -ending.length)))
    return new RecordFolder(folder, ending, most, keys)
  }

  /** How many there are. */
  get size(): number {
    return this.#keys.size
  }

  /** Reads a record; `undefined` where there is none, or none that can be read. */
  async get(key: string): Promise<T | undefined> {
    if (!this.#keys.has(key)) return undefined
    const known = this.#memory.get(key)
    if (known !== undefined) return known
    try {
      const record: T = JSON.parse(await readFile(this.#path(key), 'utf8'))
      return this.#remember(key, record)
    } catch {
      return undefined
    }
  }

  /** Writes a record: on the disk before this returns. @throws PlatformError FULL; the file system's errors */
  async put(key: string, record: T): Promise<void> {
    if (!this.#keys.has(key) && this.#keys.size >= this.#most) {
      throw new PlatformError(
        'FULL',
        `${this.#folder} holds ${this.#most} records, and takes no more`,
      )
    }
    await writeWhole(this.#folder, `${key}${this.#ending}`, JSON.stringify(record), 0o600)
    this.#keys.add(key)
    this.#remember(key, record)
  }

  async delete(key: string): Promise<void> {
    await rm(this.#path(key), { force: true })
    this.#keys.delete(key)
    this.#memory.delete(key)
  }

  /** Every record that can be read, with its key. */
  async *entries(): AsyncGenerator<readonly [string, T]> {
    for (const key of [...this.#keys]) {
      const record = await this.get(key)
      if (record !== undefined) yield [key, record]
    }
  }

  #remember(key: string, record: T): T {
    this.#memory.delete(key)
    this.#memory.set(key, record)
    const [oldest] = this.#memory.keys()
    if (this.#memory.size > MOST_IN_MEMORY && oldest !== undefined) this.#memory.delete(oldest)
    return record
  }

  #path(key: string): string {
    return join(this.#folder, `${key}${this.#ending}`)
  }
}
