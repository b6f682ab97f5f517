import { SgxsError } from './errors.ts'

/** Bytes in an enclave page. */
export const PAGE_SIZE = 4096

/** Bytes in a chunk: what one EEXTEND measures. */
export const CHUNK_SIZE = 256

/** Bytes in a record, without the chunk that follows some of them. */
export const RECORD_SIZE = 64

/** SECINFO flags of the pages this product writes: permissions below, page type in bits 15 to 8. */
export const SECINFO = { read: 1n, write: 2n, execute: 4n, tcs: 0x100n, regular: 0x200n } as const

const PERMISSIONS = SECINFO.read | SECINFO.write | SECINFO.execute

// Tags as they stand in the stream: eight bytes, padded with zeros.
const TAGS = ['ECREATE', 'EADD', 'EEXTEND', 'UNMEASRD', 'UNSIZED'] as const
type Tag = (typeof TAGS)[number]

/** One record of an SGXS stream. Offsets and sizes are in bytes, from the enclave's base. */
export type SgxsRecord =
  | { readonly tag: 'ECREATE'; readonly ssaFrameSize: number; readonly size: bigint }
  | { readonly tag: 'EADD'; readonly offset: bigint; readonly flags: bigint }
  | { readonly tag: 'EEXTEND' | 'UNMEASRD'; readonly offset: bigint; readonly data: Uint8Array }

function tagBytes(tag: Tag): Uint8Array {
  const bytes = new Uint8Array(8)
  bytes.set(new TextEncoder().encode(tag))
  return bytes
}

const TAG_NAMES = new Map(TAGS.map(tag => [Buffer.from(tagBytes(tag)).toString('latin1'), tag]))

function isZero(bytes: Uint8Array): boolean {
  return bytes.every(byte => byte === 0)
}

function isPowerOfTwo(value: bigint): boolean {
  return value > 0n && (value & (value - 1n)) === 0n
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}

function assertReserved(tag: Tag, record: Uint8Array, from: number): void {
  if (!isZero(record.subarray(from))) {
    throw new SgxsError('RESERVED', `${tag}: bytes ${from} to 63 must be zero`)
  }
}

/** The rules that hold between records; the same for a stream that is read and one that is written. */
export class SgxsRules {
  #size: bigint | undefined
  #page: bigint | undefined
  #chunk: bigint | undefined

  /** Admits the next record. @throws SgxsError */
  admit(record: SgxsRecord): void {
    switch (record.tag) {
      case 'ECREATE':
        this.#create(record.size, record.ssaFrameSize)
        break
      case 'EADD':
        this.#add(record.offset, record.flags)
        break
      case 'EEXTEND':
      case 'UNMEASRD':
        this.#extend(record.tag, record.offset)
    }
  }

  #create(size: bigint, ssaFrameSize: number): void {
    if (this.#size !== undefined) throw new SgxsError('ORDER', 'a second ECREATE')
    if (!isPowerOfTwo(size) || size < 2n * BigInt(PAGE_SIZE)) {
      throw new SgxsError(
        'SIZE',
        `enclave size ${hex(size)}: wanted a power of two, two pages or more`,
      )
    }
    if (ssaFrameSize === 0) throw new SgxsError('SIZE', 'the SSA frame size is zero pages')
    this.#size = size
  }

  #add(offset: bigint, flags: bigint): void {
    if (this.#size === undefined) throw new SgxsError('ORDER', 'EADD stands before ECREATE')
    if (offset % BigInt(PAGE_SIZE) !== 0n || offset >= this.#size) {
      throw new SgxsError('PAGE', `page ${hex(offset)} is unaligned, or outside ${hex(this.#size)}`)
    }
    if (this.#page !== undefined && offset <= this.#page) {
      throw new SgxsError('PAGE', `page ${hex(offset)} does not come after page ${hex(this.#page)}`)
    }
    const type = flags & ~PERMISSIONS
    if (type !== SECINFO.tcs && type !== SECINFO.regular) {
      throw new SgxsError('PAGE', `page ${hex(offset)}: flags ${hex(flags)} are no TCS or REG page`)
    }
    if (type === SECINFO.tcs && flags !== SECINFO.tcs) {
      throw new SgxsError('PAGE', `page ${hex(offset)}: a TCS page with permissions ${hex(flags)}`)
    }
    this.#page = offset
    this.#chunk = undefined
  }

  #extend(tag: 'EEXTEND' | 'UNMEASRD', offset: bigint): void {
    const page = this.#page
    if (page === undefined) throw new SgxsError('ORDER', `${tag} stands before the first EADD`)
    if (offset % BigInt(CHUNK_SIZE) !== 0n) {
      throw new SgxsError('CHUNK', `chunk ${hex(offset)} is not aligned to ${CHUNK_SIZE} bytes`)
    }
    if (offset < page || offset >= page + BigInt(PAGE_SIZE)) {
      throw new SgxsError('CHUNK', `chunk ${hex(offset)} lies outside its page ${hex(page)}`)
    }
    if (this.#chunk !== undefined && offset <= this.#chunk) {
      throw new SgxsError('CHUNK', `chunk ${hex(offset)} does not come after ${hex(this.#chunk)}`)
    }
    this.#chunk = offset
  }
}

function tagOf(record: Uint8Array): Tag {
  const tag = TAG_NAMES.get(Buffer.from(record.subarray(0, 8)).toString('latin1'))
  if (tag === undefined) {
    const seen = Buffer.from(record.subarray(0, 8)).toString('hex')
    throw new SgxsError('TAG', `unknown record tag ${seen}`)
  }
  return tag
}

function hasData(tag: Tag): boolean {
  return tag === 'EEXTEND' || tag === 'UNMEASRD'
}

/** Bytes of the record that begins with `head` (at least 8 bytes), its chunk included. */
export function recordLength(head: Uint8Array): number {
  return RECORD_SIZE + (hasData(tagOf(head)) ? CHUNK_SIZE : 0)
}

/** Reads one whole record, without the rules between records. */
export function parseRecord(bytes: Uint8Array): SgxsRecord {
  const tag = tagOf(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const record = bytes.subarray(0, RECORD_SIZE)
  switch (tag) {
    case 'ECREATE':
      assertReserved(tag, record, 20)
      return { tag, ssaFrameSize: view.getUint32(8, true), size: view.getBigUint64(12, true) }
    case 'EADD':
      assertReserved(tag, record, 24)
      return { tag, offset: view.getBigUint64(8, true), flags: view.getBigUint64(16, true) }
    case 'EEXTEND':
    case 'UNMEASRD':
      assertReserved(tag, record, 16)
      return { tag, offset: view.getBigUint64(8, true), data: bytes.subarray(RECORD_SIZE) }
    case 'UNSIZED':
      throw new SgxsError('UNSIZED', 'the enclave has no size yet: it cannot be measured')
  }
}

/** Writes one record, without the rules between records. */
export function encodeRecord(record: SgxsRecord): Uint8Array {
  const bytes = new Uint8Array(RECORD_SIZE + (hasData(record.tag) ? CHUNK_SIZE : 0))
  const view = new DataView(bytes.buffer)
  bytes.set(tagBytes(record.tag))
  switch (record.tag) {
    case 'ECREATE':
      view.setUint32(8, record.ssaFrameSize, true)
      view.setBigUint64(12, record.size, true)
      return bytes
    case 'EADD':
      view.setBigUint64(8, record.offset, true)
      view.setBigUint64(16, record.flags, true)
      return bytes
    case 'EEXTEND':
    case 'UNMEASRD':
      if (record.data.length !== CHUNK_SIZE) {
        throw new SgxsError('CHUNK', `a chunk of ${record.data.length} bytes, not ${CHUNK_SIZE}`)
      }
      view.setBigUint64(8, record.offset, true)
      bytes.set(record.data, RECORD_SIZE)
      return bytes
  }
}
