import { inspect } from 'node:util'

const PLACEHOLDER = '[Secret]'

/** Secret bytes of any length that never print. */
export class Secret {
  readonly #bytes: Uint8Array
  #disposed = false

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Copies `bytes`; the caller still owns, and zeroes, its own copy. */
  static from(bytes: Uint8Array): Secret {
    return new Secret(Uint8Array.from(bytes))
  }

  /** How many bytes there are. */
  get length(): number {
    return this.#bytes.length
  }

  /** Whether the bytes are gone. */
  get isDisposed(): boolean {
    return this.#disposed
  }

  /** Returns a copy of the bytes; the caller zeroes it. */
  exposeBytes(): Uint8Array {
    if (this.#disposed) throw new Error('the secret has been disposed of')
    return Uint8Array.from(this.#bytes)
  }

  /** Calls `use` with a copy of the bytes that is zeroed when `use` returns. */
  with<T>(use: (bytes: Uint8Array) => T): T {
    const bytes = this.exposeBytes()
    try {
      return use(bytes)
    } finally {
      bytes.fill(0)
    }
  }

  /** Zeroes the bytes. */
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
