import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { SealedFormatError } from './errors.ts'

const PLACEHOLDER = '[Dek]'

/** Length of a data encryption key in bytes. */
export const DEK_LENGTH = 32

/** A data encryption key: 32 secret bytes that never print. */
export class Dek {
  readonly #bytes: Uint8Array
  #disposed = false

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Makes a new random key. */
  static generate(): Dek {
    return new Dek(new Uint8Array(randomBytes(DEK_LENGTH)))
  }

  /** Copies `bytes`, which must be exactly 32, into a key. The caller still owns its own copy. */
  static from(bytes: Uint8Array): Dek {
    if (bytes.length !== DEK_LENGTH) {
      throw new SealedFormatError('LIMIT', `a DEK is ${DEK_LENGTH} bytes, not ${bytes.length}`)
    }
    return new Dek(Uint8Array.from(bytes))
  }

  /** Returns a copy of the secret bytes; the caller zeroes it. */
  exposeBytes(): Uint8Array {
    if (this.#disposed) throw new Error('the DEK has been disposed of')
    return Uint8Array.from(this.#bytes)
  }

  /** Zeroes the key. Files already open keep the keys that they derived from it. */
  dispose(): void {
    this.#bytes.fill(0)
    this.#disposed = true
  }

  /** Returns a placeholder. */
  toString(): string {
    return PLACEHOLDER
  }

  /** Returns a placeholder. */
  toJSON(): string {
    return PLACEHOLDER
  }

  /** Returns a placeholder. */
  [inspect.custom](): string {
    return PLACEHOLDER
  }
}
