import { SgxsError } from './errors.ts'
import { CHUNK_SIZE, encodeRecord, PAGE_SIZE, type SgxsRecord, SgxsRules } from './sgxs.ts'

/** Writes a canonical SGXS stream: one enclave, its pages in ascending order. */
export class SgxsWriter {
  readonly #rules = new SgxsRules()
  readonly #parts: Uint8Array[] = []

  /**
   * @param size - Size of the enclave in bytes, a power of two.
   * @param ssaFrameSize - Size of one SSA frame in pages.
   * @throws SgxsError
   */
  constructor(size: bigint, ssaFrameSize: number) {
    this.#write({ tag: 'ECREATE', size, ssaFrameSize })
  }

  /**
   * Adds one page, every byte of it measured.
   * @param offset - Where, in bytes from the enclave's base.
   * @param flags - SECINFO flags.
   * @param content - At most a page; zeros follow it.
   * @throws SgxsError
   */
  page(offset: bigint, flags: bigint, content: Uint8Array): this {
    if (content.length > PAGE_SIZE) {
      throw new SgxsError('PAGE', `${content.length} bytes do not fit a page`)
    }
    const page = new Uint8Array(PAGE_SIZE)
    page.set(content)
    this.#write({ tag: 'EADD', offset, flags })
    for (let start = 0; start < PAGE_SIZE; start += CHUNK_SIZE) {
      const data = page.subarray(start, start + CHUNK_SIZE)
      this.#write({ tag: 'EEXTEND', offset: offset + BigInt(start), data })
    }
    return this
  }

  /** The stream. */
  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts))
  }

  #write(record: SgxsRecord): void {
    this.#rules.admit(record)
    this.#parts.push(encodeRecord(record))
  }
}
