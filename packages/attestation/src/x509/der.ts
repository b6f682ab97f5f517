import { CodedError } from '../errors.ts'

/** Why bytes were refused by the DER reader or by a parser built on it. */
export const DER_ERROR_CODES = [
  'TRUNCATED',
  'TAG',
  'LENGTH',
  'TRAILING_BYTES',
  'LIMIT',
  'VALUE',
] as const

/** Why bytes were refused. */
export type DerErrorCode = (typeof DER_ERROR_CODES)[number]

/** Bytes that are not the strict DER, PEM, certificate or CRL they were read as. */
export class DerError extends CodedError<DerErrorCode> {}

/** Largest input read when no other limit is given: 64 KiB. */
export const MAX_DER_BYTES = 64 * 1024

/** Largest revocation list read: 1 MiB. */
export const MAX_CRL_BYTES = 1024 * 1024

const MAX_DEPTH = 16
const MAX_OID_BYTES = 64

/** The identifier octets this package reads. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** One element; the byte arrays are views of the input. */
export interface DerNode {
  /** Identifier octet. */
  readonly tag: number
  /** The whole element, header included. */
  readonly raw: Uint8Array
  /** The contents octets. */
  readonly value: Uint8Array
  /** The elements inside a constructed element; empty for a primitive one. */
  readonly children: readonly DerNode[]
}

function readNode(input: Uint8Array, at: number, end: number, depth: number): DerNode {
  if (depth > MAX_DEPTH) throw new DerError('LIMIT', `DER nested deeper than ${MAX_DEPTH}`)
  const tag = input[at]
  const first = input[at + 1]
  if (at >= end || tag === undefined) throw new DerError('TRUNCATED', 'DER ends before a tag')
  if ((tag & 0x1f) === 0x1f) throw new DerError('TAG', 'DER tag number above 30')
  if (tag === 0) throw new DerError('TAG', 'DER tag 0 is reserved')
  const constructed = (tag & 0x20) !== 0
  const type = tag | 0x20
  if (tag < 0x40 && constructed !== (type === TAG.sequence || type === TAG.set)) {
    throw new DerError('TAG', `DER tag 0x${tag.toString(16)} is in the wrong form`)
  }
  if (at + 1 >= end || first === undefined) {
    throw new DerError('TRUNCATED', 'DER ends before a length')
  }
  let start = at + 2
  let length = first
  if (first >= 0x80) {
    const count = first & 0x7f
    if (count === 0) throw new DerError('LENGTH', 'DER length is indefinite')
    if (count > 4) throw new DerError('LENGTH', 'DER length takes more than four bytes')
    length = 0
    for (let i = 0; i < count; i++) {
      const byte = input[start]
      if (start >= end || byte === undefined) {
        throw new DerError('TRUNCATED', 'DER ends inside a length')
      }
      length = length * 256 + byte
      start++
    }
    if (length < 0x80 || length < 256 ** (count - 1)) {
      throw new DerError('LENGTH', 'DER length is not minimal')
    }
  }
  const stop = start + length
  if (stop > end) throw new DerError('TRUNCATED', 'DER element runs past its container')
  const children: DerNode[] = []
  if (constructed) {
    for (let next = start; next < stop; ) {
      const child = readNode(input, next, stop, depth + 1)
      children.push(child)
      next += child.raw.length
    }
  }
  return { tag, raw: input.subarray(at, stop), value: input.subarray(start, stop), children }
}

/**
 * Reads one DER element that fills the input exactly, with everything constructed inside it.
 *
 * @param input - The bytes; the nodes are views of them.
 * @param maxBytes - Size limit, checked before anything is read.
 * @throws DerError for anything that is not strict DER.
 */
export function parseDer(input: Uint8Array, maxBytes: number = MAX_DER_BYTES): DerNode {
  if (input.length > maxBytes) {
    throw new DerError('LIMIT', `DER of ${input.length} bytes; the limit is ${maxBytes}`)
  }
  const bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
  const node = readNode(bytes, 0, bytes.length, 0)
  if (node.raw.length !== bytes.length) {
    throw new DerError('TRAILING_BYTES', 'bytes follow the DER element')
  }
  return node
}

/**
 * Checks a node's tag.
 *
 * @throws DerError `TAG` when it is another one.
 */
export function expectTag(node: DerNode, tag: number, what: string): DerNode {
  if (node.tag !== tag) {
    throw new DerError(
      'TAG',
      `${what} has tag 0x${node.tag.toString(16)}, not 0x${tag.toString(16)}`,
    )
  }
  return node
}

/** Takes the elements of a constructed node in order. */
export class DerFields {
  readonly #children: readonly DerNode[]
  readonly #what: string
  #next = 0

  /**
   * @param node - The constructed node.
   * @param tag - The tag it must have.
   * @param what - Its name, for messages.
   */
  constructor(node: DerNode, tag: number, what: string) {
    this.#children = expectTag(node, tag, what).children
    this.#what = what
  }

  /** The next element, which must exist and have this tag (any tag when none is given). */
  take(tag?: number): DerNode {
    const node = this.#children[this.#next]
    if (node === undefined) throw new DerError('VALUE', `${this.#what} lacks an element`)
    if (tag !== undefined) expectTag(node, tag, `element ${this.#next} of ${this.#what}`)
    this.#next++
    return node
  }

  /** The next element if it has one of these tags. */
  optional(...tags: readonly number[]): DerNode | undefined {
    const node = this.#children[this.#next]
    if (node === undefined || !tags.includes(node.tag)) return undefined
    this.#next++
    return node
  }

  /** Refuses elements nobody took. */
  done(): void {
    const node = this.#children[this.#next]
    if (node === undefined) return
    throw new DerError('TAG', `${this.#what} has an unexpected 0x${node.tag.toString(16)}`)
  }
}

/** The contents of a minimal INTEGER (or ENUMERATED, given its tag). */
export function readIntegerBytes(node: DerNode, tag: number = TAG.integer): Uint8Array {
  const { value } = expectTag(node, tag, 'integer')
  const [first, second] = value
  if (first === undefined) throw new DerError('VALUE', 'INTEGER is empty')
  if (second !== undefined) {
    if ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)) {
      throw new DerError('VALUE', 'INTEGER is not minimal')
    }
  }
  return value
}

/** A non-negative INTEGER (or ENUMERATED, given its tag) of at most `max`, below 2^31. */
export function readSmallInteger(node: DerNode, max: number, tag: number = TAG.integer): number {
  const value = readIntegerBytes(node, tag)
  if ((value[0] ?? 0) >= 0x80) throw new DerError('VALUE', 'INTEGER is negative')
  let number = 0
  for (const byte of value) {
    number = number * 256 + byte
    if (number > max) throw new DerError('VALUE', `INTEGER is above ${max}`)
  }
  return number
}

/** A BOOLEAN: 0x00 or 0xff and nothing else. */
export function readBoolean(node: DerNode): boolean {
  const { value } = expectTag(node, TAG.boolean, 'boolean')
  if (value.length !== 1 || (value[0] !== 0 && value[0] !== 0xff)) {
    throw new DerError('VALUE', 'BOOLEAN is neither 0x00 nor 0xff')
  }
  return value[0] === 0xff
}

/** An OCTET STRING, of exactly `length` bytes when one is given. */
export function readOctets(node: DerNode, length?: number): Uint8Array {
  const { value } = expectTag(node, TAG.octetString, 'octet string')
  if (length !== undefined && value.length !== length) {
    throw new DerError('VALUE', `OCTET STRING has ${value.length} bytes, not ${length}`)
  }
  return value
}

/** A BIT STRING; the unused bits must be zero. */
export function readBitString(node: DerNode): { unusedBits: number; bytes: Uint8Array } {
  const { value } = expectTag(node, TAG.bitString, 'bit string')
  const unusedBits = value[0]
  if (unusedBits === undefined) throw new DerError('VALUE', 'BIT STRING is empty')
  const bytes = value.subarray(1)
  const last = bytes.at(-1)
  if (unusedBits > 7 || (last === undefined && unusedBits !== 0)) {
    throw new DerError('VALUE', 'BIT STRING has a wrong count of unused bits')
  }
  if (last !== undefined && (last & ((1 << unusedBits) - 1)) !== 0) {
    throw new DerError('VALUE', 'BIT STRING has unused bits that are set')
  }
  return { unusedBits, bytes }
}

/** An OBJECT IDENTIFIER in dotted form. */
export function readOid(node: DerNode): string {
  const { value } = expectTag(node, TAG.oid, 'object identifier')
  if (value.length > MAX_OID_BYTES) throw new DerError('LIMIT', 'OBJECT IDENTIFIER is too long')
  const last = value.at(-1)
  if (last === undefined || last >= 0x80) {
    throw new DerError('VALUE', 'OBJECT IDENTIFIER is empty or ends inside a number')
  }
  let text = ''
  let arc = 0
  for (let start = 0, at = 0; at < value.length; at++) {
    const byte = value[at] ?? 0
    if (at === start && byte === 0x80) {
      throw new DerError('VALUE', 'OBJECT IDENTIFIER is not minimal')
    }
    arc = arc * 128 + (byte & 0x7f)
    if (byte >= 0x80) continue
    // Beyond 49 bits a number would not be exact.
    const exact = at - start < 7 ? arc : longArc(value.subarray(start, at + 1))
    text = start === 0 ? firstArcs(exact) : `${text}.${exact}`
    start = at + 1
    arc = 0
  }
  return text
}

/** The first two numbers stand in one. @see X.690 section 8.19.4 */
function firstArcs(both: number | bigint): string {
  const root = both < 40 ? 0 : both < 80 ? 1 : 2
  return `${root}.${typeof both === 'bigint' ? both - 80n : both - 40 * root}`
}

function longArc(digits: Uint8Array): bigint {
  return digits.reduce((arc, digit) => arc * 128n + BigInt(digit & 0x7f), 0n)
}

/** A UTCTime or GeneralizedTime with seconds, in UTC (`Z`), as X.509 requires. */
export function readTime(node: DerNode): Date {
  const utc = node.tag === TAG.utcTime
  if (!utc) expectTag(node, TAG.generalizedTime, 'time')
  const digits = utc ? 12 : 14
  const { value } = node
  if (value.length !== digits + 1 || value[digits] !== 0x5a) {
    throw new DerError('VALUE', 'time is not written with seconds and Z')
  }
  const pairs: number[] = []
  for (let i = 0; i < digits; i += 2) {
    const high = (value[i] ?? 0) - 0x30
    const low = (value[i + 1] ?? 0) - 0x30
    if (high < 0 || high > 9 || low < 0 || low > 9) {
      throw new DerError('VALUE', 'time has a character that is no digit')
    }
    pairs.push(high * 10 + low)
  }
  if (utc) pairs.unshift((pairs[0] ?? 0) >= 50 ? 19 : 20)
  const [century = 0, year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = pairs
  const time = new Date(0)
  time.setUTCFullYear(century * 100 + year, month - 1, day)
  time.setUTCHours(hour, minute, second)
  if (
    time.getUTCMonth() !== month - 1 ||
    time.getUTCDate() !== day ||
    time.getUTCHours() !== hour ||
    time.getUTCMinutes() !== minute ||
    time.getUTCSeconds() !== second
  ) {
    throw new DerError('VALUE', 'time is no date of the calendar')
  }
  return time
}

/** Whether two byte strings are the same; for public values only, not constant time. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false
  return true
}
