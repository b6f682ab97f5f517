import { QuoteFormatError } from '../errors.ts'

const outOfRange = (field: string, bits: number): QuoteFormatError =>
  new QuoteFormatError('LENGTH', `${field} is not an unsigned ${bits}-bit integer`)

/** Writes little-endian fields one after another; a value that does not fit is refused. */
export class Writer {
  readonly #chunks: Uint8Array[] = []
  #length = 0

  /** How many bytes have been written. */
  get length(): number {
    return this.#length
  }

  /** Writes an unsigned 16-bit integer. */
  u16(field: string, value: number): this {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff) throw outOfRange(field, 16)
    const chunk = new Uint8Array(2)
    new DataView(chunk.buffer).setUint16(0, value, true)
    return this.#push(chunk)
  }

  /** Writes an unsigned 32-bit integer. */
  u32(field: string, value: number): this {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw outOfRange(field, 32)
    const chunk = new Uint8Array(4)
    new DataView(chunk.buffer).setUint32(0, value, true)
    return this.#push(chunk)
  }

  /** Writes an unsigned 64-bit integer. */
  u64(field: string, value: bigint): this {
    if (value < 0n || value > 0xffffffffffffffffn) throw outOfRange(field, 64)
    const chunk = new Uint8Array(8)
    new DataView(chunk.buffer).setBigUint64(0, value, true)
    return this.#push(chunk)
  }

  /** Writes a field of exactly `length` bytes. */
  bytes(field: string, value: Uint8Array, length: number): this {
    if (value.length !== length) {
      throw new QuoteFormatError(
        'LENGTH',
        `${field} has ${value.length} bytes where ${length} belong`,
      )
    }
    return this.#push(value)
  }

  /** Everything written, as one fresh array. */
  finish(): Uint8Array {
    const out = new Uint8Array(this.#length)
    let position = 0
    for (const chunk of this.#chunks) {
      out.set(chunk, position)
      position += chunk.length
    }
    return out
  }

  #push(chunk: Uint8Array): this {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    return this
  }
}
