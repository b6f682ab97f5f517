import { QuoteFormatError } from '../errors.ts'

/** Makes the error for a field that needs more bytes than are left. */
export type OverrunError = (field: string, offset: number, wanted: number, left: number) => Error

const truncated: OverrunError = (field, offset, wanted, left) =>
  new QuoteFormatError(
    'TRUNCATED',
    `${field} at offset ${offset} needs ${wanted} bytes, ${left} are left`,
  )

/**
 * Reads little-endian fields one after another, never beyond the end. Byte fields are views of the
 * input: nothing is copied, whatever size a field claims.
 */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #base: number
  readonly #overrun: OverrunError
  #position = 0

  /**
   * @param bytes - What to read.
   * @param overrun - Makes the error for a read beyond the end; by default a `QuoteFormatError`
   * with code `TRUNCATED`.
   * @param base - Where `bytes` starts in the whole, for the offsets in messages.
   */
  constructor(bytes: Uint8Array, overrun: OverrunError = truncated, base = 0) {
    // A plain view, so that a Buffer does not hand out Buffers.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#overrun = overrun
    this.#base = base
  }

  /** How many bytes have been read. */
  get position(): number {
    return this.#position
  }

  /** Where the next field starts, counted from the start of the whole. */
  get offset(): number {
    return this.#base + this.#position
  }

  /** How many bytes are left. */
  get remaining(): number {
    return this.#bytes.length - this.#position
  }

  /** Reads an unsigned 16-bit integer. */
  u16(field: string): number {
    return this.#view.getUint16(this.#advance(field, 2), true)
  }

  /** Reads an unsigned 32-bit integer. */
  u32(field: string): number {
    return this.#view.getUint32(this.#advance(field, 4), true)
  }

  /** Reads an unsigned 64-bit integer. */
  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#advance(field, 8), true)
  }

  /** Reads `length` bytes, as a view of the input. */
  bytes(field: string, length: number): Uint8Array {
    const start = this.#advance(field, length)
    return this.#bytes.subarray(start, start + length)
  }

  /** Reads `length` bytes as a container of their own, with its own overrun error. */
  container(field: string, length: number, overrun: OverrunError = this.#overrun): Reader {
    const base = this.offset
    return new Reader(this.bytes(field, length), overrun, base)
  }

  /** What was read so far, as a view of the input. */
  consumed(): Uint8Array {
    return this.#bytes.subarray(0, this.#position)
  }

  #advance(field: string, length: number): number {
    if (length > this.remaining) throw this.#overrun(field, this.offset, length, this.remaining)
    const start = this.#position
    this.#position += length
    return start
  }
}
