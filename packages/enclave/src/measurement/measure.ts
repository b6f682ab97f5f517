import { createHash, type Hash } from 'node:crypto'
import { SgxsError } from './errors.ts'
import { parseRecord, RECORD_SIZE, recordLength, type SgxsRecord, SgxsRules } from './sgxs.ts'

/** What measuring a stream says about it. */
export interface SgxsMeasurement {
  /** MRENCLAVE, 32 bytes. */
  readonly mrEnclave: Uint8Array
  /** Size of the enclave in bytes. */
  readonly enclaveSize: bigint
  /** Size of one SSA frame in pages. */
  readonly ssaFrameSize: number
  /** How many records of each kind there are. */
  readonly records: Readonly<Record<SgxsRecord['tag'], number>>
}

/**
 * Reads a canonical SGXS stream in pieces of any size and computes its MRENCLAVE. What the stream
 * marks as unmeasured is checked and left out of the hash, as the hardware does.
 */
export class SgxsMeasurer {
  readonly #hash: Hash = createHash('sha256')
  readonly #rules = new SgxsRules()
  readonly #records = { ECREATE: 0, EADD: 0, EEXTEND: 0, UNMEASRD: 0 }
  readonly #visit: ((record: SgxsRecord) => void) | undefined
  #rest: Uint8Array = new Uint8Array(0)
  #position = 0
  #enclaveSize = 0n
  #ssaFrameSize = 0

  /** @param visit - Called with each record once it was admitted; its data is a view. */
  constructor(visit?: (record: SgxsRecord) => void) {
    this.#visit = visit
  }

  /**
   * Takes the next bytes of the stream.
   * @throws SgxsError
   */
  update(bytes: Uint8Array): this {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    let start = 0
    while (all.length - start >= RECORD_SIZE) {
      const length = recordLength(all.subarray(start))
      if (all.length - start < length) break
      this.#take(all.subarray(start, start + length))
      start += length
      this.#position += length
    }
    this.#rest = Uint8Array.from(all.subarray(start))
    return this
  }

  /**
   * Ends the stream.
   * @throws SgxsError with `TRUNCATED` when it ends inside a record or holds no page.
   */
  finish(): SgxsMeasurement {
    if (this.#rest.length > 0) {
      throw new SgxsError(
        'TRUNCATED',
        `the record at offset ${this.#position} is cut: ${this.#rest.length} bytes are left`,
      )
    }
    if (this.#records.EADD === 0) throw new SgxsError('TRUNCATED', 'the stream has no page')
    return {
      mrEnclave: new Uint8Array(this.#hash.digest()),
      enclaveSize: this.#enclaveSize,
      ssaFrameSize: this.#ssaFrameSize,
      records: this.#records,
    }
  }

  #take(bytes: Uint8Array): void {
    const record = parseRecord(bytes)
    this.#rules.admit(record)
    if (record.tag === 'ECREATE') {
      this.#enclaveSize = record.size
      this.#ssaFrameSize = record.ssaFrameSize
    }
    this.#records[record.tag] += 1
    if (record.tag !== 'UNMEASRD') this.#hash.update(bytes)
    this.#visit?.(record)
  }
}

/**
 * Computes the MRENCLAVE of a canonical SGXS stream.
 * @param sgxs - The whole stream.
 * @throws SgxsError
 * @see Intel SDM volume 3D, ECREATE, EADD, EEXTEND
 */
export function measureSgxs(sgxs: Uint8Array): SgxsMeasurement {
  return new SgxsMeasurer().update(sgxs).finish()
}
