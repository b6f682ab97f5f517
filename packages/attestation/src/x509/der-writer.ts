import { DerError, TAG } from './der.ts'

/** One element: tag, minimal definite length, then the contents one after another. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const length = contents.reduce((sum, part) => sum + part.length, 0)
  return new Uint8Array(Buffer.concat([Uint8Array.of(tag, ...lengthOctets(length)), ...contents]))
}

function lengthOctets(length: number): number[] {
  if (length < 0x80) return [length]
  const octets = unsignedOctets(length)
  return [0x80 | octets.length, ...octets]
}

function unsignedOctets(value: number): number[] {
  const octets: number[] = []
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256)
  return octets
}

/** SEQUENCE of elements. */
export const sequence = (...elements: readonly Uint8Array[]): Uint8Array =>
  der(TAG.sequence, ...elements)

/** SET of one element; more would have to be sorted. */
export const setOfOne = (element: Uint8Array): Uint8Array => der(TAG.set, element)

/** EXPLICIT [n], n from 0 to 30. */
export const explicit = (n: number, element: Uint8Array): Uint8Array => der(0xa0 | n, element)

/** IMPLICIT [n] of a primitive string, n from 0 to 30. */
export const implicit = (n: number, contents: Uint8Array): Uint8Array => der(0x80 | n, contents)

/**
 * A non-negative INTEGER.
 * @param value - A safe integer, or an unsigned big-endian magnitude.
 * @throws DerError VALUE
 */
export function integer(value: number | Uint8Array, tag: number = TAG.integer): Uint8Array {
  if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= 0)) {
    throw new DerError('VALUE', `${value} is no unsigned integer`)
  }
  const octets = typeof value === 'number' ? unsignedOctets(value) : [...value]
  while (octets[0] === 0) octets.shift()
  const [first] = octets
  // Zero has one octet, and a set top bit would make the number negative.
  const sign = first === undefined || first >= 0x80 ? [0] : []
  return der(tag, Uint8Array.of(...sign, ...octets))
}

/** ENUMERATED. @throws DerError VALUE */
export const enumerated = (value: number): Uint8Array => integer(value, TAG.enumerated)

/** BOOLEAN. */
export const boolean = (value: boolean): Uint8Array =>
  der(TAG.boolean, Uint8Array.of(value ? 0xff : 0))

/** OCTET STRING. */
export const octetString = (...contents: readonly Uint8Array[]): Uint8Array =>
  der(TAG.octetString, ...contents)

/** BIT STRING, whose last octet has `unusedBits` zero bits at its end. */
export const bitString = (bytes: Uint8Array, unusedBits = 0): Uint8Array =>
  der(TAG.bitString, Uint8Array.of(unusedBits), bytes)

/**
 * BIT STRING with named bits: trailing zero bits are left off, as DER demands.
 * @param bits - Numbers of the bits that are set, from 0 to 30.
 */
export function namedBits(...bits: readonly number[]): Uint8Array {
  const last = Math.max(-1, ...bits)
  if (last < 0) return bitString(new Uint8Array())
  const bytes = new Uint8Array((last >> 3) + 1)
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7))
  return bitString(bytes, 7 - (last & 7))
}

/** UTF8String. */
export const utf8String = (text: string): Uint8Array =>
  der(TAG.utf8String, new TextEncoder().encode(text))

/** OBJECT IDENTIFIER from its dotted form. @throws DerError VALUE */
export function oid(dotted: string): Uint8Array {
  const [root, second, ...rest] = dotted.split('.').map(part => {
    if (!/^(0|[1-9]\d{0,9})$/.test(part)) {
      throw new DerError('VALUE', `"${dotted}" is no object identifier`)
    }
    return Number(part)
  })
  if (root === undefined || second === undefined || root > 2 || (root < 2 && second > 39)) {
    throw new DerError('VALUE', `"${dotted}" is no object identifier`)
  }
  const octets = [root * 40 + second, ...rest].flatMap(base128)
  return der(TAG.oid, Uint8Array.from(octets))
}

function base128(value: number): number[] {
  const octets = [value % 128]
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    octets.unshift(0x80 | (rest % 128))
  }
  return octets
}

/**
 * A time of whole seconds: UTCTime for the years 1950 to 2049, GeneralizedTime for others.
 * @throws DerError VALUE
 * @see RFC 5280 section 4.1.2.5
 */
export function time(at: Date): Uint8Array {
  const year = at.getUTCFullYear()
  if (!(year >= 0 && year <= 9999)) throw new DerError('VALUE', 'time has no year of four digits')
  const digits = `${at.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`
  return year >= 1950 && year < 2050
    ? der(TAG.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : der(TAG.generalizedTime, Buffer.from(digits, 'latin1'))
}
