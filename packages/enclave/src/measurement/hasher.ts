import { createHash, type Hash } from 'node:crypto'
import { CHUNK_SIZE, encodeRecord, PAGE_SIZE, RECORD_SIZE } from './sgxs.ts'

const CHUNKS = PAGE_SIZE / CHUNK_SIZE
const CHUNK_RECORD = RECORD_SIZE + CHUNK_SIZE
const OFFSET_AT = 8
const FLAGS_AT = 16

/** Bytes that go through the hash for a page that is added but not measured. */
export const ADDED_PAGE_COST = RECORD_SIZE
/** Bytes that go through the hash for a page that is measured whole. */
export const MEASURED_PAGE_COST = RECORD_SIZE + CHUNKS * CHUNK_RECORD

/** Pages whose records are hashed at once: the call costs more than a small page does. */
const AT_ONCE = 64

/** The records of `AT_ONCE` pages, complete but for offsets, flags and content. */
function template(cost: number): Buffer {
  const chunk = new Uint8Array(CHUNK_SIZE)
  const page = Buffer.concat([
    encodeRecord({ tag: 'EADD', offset: 0n, flags: 0n }),
    ...Array.from({ length: CHUNKS }, () =>
      encodeRecord({ tag: 'EEXTEND', offset: 0n, data: chunk }),
    ),
  ]).subarray(0, cost)
  return Buffer.concat(Array.from({ length: AT_ONCE }, () => page))
}

/** A 64-bit number below 2^53, little-endian; faster than by way of a bigint. */
function putOffset(buffer: Buffer, at: number, offset: number): void {
  buffer.writeUInt32LE(offset % 2 ** 32, at)
  buffer.writeUInt32LE(Math.floor(offset / 2 ** 32), at + 4)
}

/**
 * Computes an MRENCLAVE from pages in the order in which they are loaded. Knows no rules: what it is
 * given, it hashes.
 * @see Intel SDM volume 3D, ECREATE, EADD, EEXTEND
 */
export class EnclaveHasher {
  readonly #hash: Hash = createHash('sha256')
  readonly #added = template(ADDED_PAGE_COST)
  readonly #measured = template(MEASURED_PAGE_COST)

  /**
   * @param size - Size of the enclave in bytes, a power of two.
   * @param ssaFrameSize - Size of one SSA frame in pages.
   */
  constructor(size: bigint, ssaFrameSize: number) {
    this.#hash.update(encodeRecord({ tag: 'ECREATE', size, ssaFrameSize }))
  }

  /** Adds pages whose content is not measured. */
  add(offset: number, pages: number, flags: number): void {
    for (let page = 0; page < pages; page += AT_ONCE) {
      const count = Math.min(AT_ONCE, pages - page)
      for (let index = 0; index < count; index += 1) {
        const at = index * ADDED_PAGE_COST
        putOffset(this.#added, at + OFFSET_AT, offset + (page + index) * PAGE_SIZE)
        this.#added.writeUInt32LE(flags, at + FLAGS_AT)
      }
      this.#hash.update(this.#added.subarray(0, count * ADDED_PAGE_COST))
    }
  }

  /**
   * Adds and measures pages.
   * @param content - Whole pages.
   */
  measure(offset: number, flags: number, content: Uint8Array): void {
    const pages = content.length / PAGE_SIZE
    for (let page = 0; page < pages; page += AT_ONCE) {
      const count = Math.min(AT_ONCE, pages - page)
      for (let index = 0; index < count; index += 1) {
        const from = (page + index) * PAGE_SIZE
        this.#put(index, content.subarray(from, from + PAGE_SIZE))
      }
      this.#measureAtOnce(offset + page * PAGE_SIZE, count, flags)
    }
  }

  /**
   * Adds and measures pages that all hold the same.
   * @param content - One page.
   */
  measureRepeated(offset: number, pages: number, flags: number, content: Uint8Array): void {
    for (let index = 0; index < Math.min(AT_ONCE, pages); index += 1) this.#put(index, content)
    for (let page = 0; page < pages; page += AT_ONCE) {
      const count = Math.min(AT_ONCE, pages - page)
      this.#measureAtOnce(offset + page * PAGE_SIZE, count, flags)
    }
  }

  /** MRENCLAVE, 32 bytes. */
  finish(): Uint8Array {
    return new Uint8Array(this.#hash.digest())
  }

  #put(index: number, content: Uint8Array): void {
    const at = index * MEASURED_PAGE_COST + 2 * RECORD_SIZE
    for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
      const from = chunk * CHUNK_SIZE
      this.#measured.set(content.subarray(from, from + CHUNK_SIZE), at + chunk * CHUNK_RECORD)
    }
  }

  #measureAtOnce(offset: number, count: number, flags: number): void {
    for (let index = 0; index < count; index += 1) {
      const at = index * MEASURED_PAGE_COST
      const page = offset + index * PAGE_SIZE
      putOffset(this.#measured, at + OFFSET_AT, page)
      this.#measured.writeUInt32LE(flags, at + FLAGS_AT)
      for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
        const record = at + RECORD_SIZE + chunk * CHUNK_RECORD
        putOffset(this.#measured, record + OFFSET_AT, page + chunk * CHUNK_SIZE)
      }
    }
    this.#hash.update(this.#measured.subarray(0, count * MEASURED_PAGE_COST))
  }
}
