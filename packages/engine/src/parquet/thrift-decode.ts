import { ParquetFooterError } from './errors.ts'
import {
  MAX_THRIFT_DEPTH,
  type ThriftField,
  type ThriftStruct,
  type ThriftType,
  type ThriftValue,
  TYPE_NUMBERS,
} from './thrift.ts'

const TYPES = new Map(
  Object.entries(TYPE_NUMBERS).map(([type, number]) => [number, type as ThriftType]),
)
const BOOL_TRUE = 1

/** Fewest bytes that a value of a type takes: what a claimed count is checked against. */
const LEAST_BYTES: Readonly<Partial<Record<ThriftType, number>>> = { double: 8, uuid: 16 }

/** Decodes one struct that fills `bytes`. @throws ParquetFooterError */
export function decodeThrift(bytes: Uint8Array): ThriftStruct {
  const decoder = new Decoder(bytes)
  const struct = decoder.struct(0)
  if (decoder.left > 0) throw malformed(`wanted the end, seen ${decoder.left} bytes more`)
  return struct
}

function malformed(message: string): ParquetFooterError {
  return new ParquetFooterError('THRIFT', message)
}

class Decoder {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  struct(depth: number): ThriftStruct {
    if (depth >= MAX_THRIFT_DEPTH) {
      throw new ParquetFooterError('LIMIT', `nested deeper than ${MAX_THRIFT_DEPTH}`)
    }
    const fields: ThriftField[] = []
    const seen = new Set<number>()
    let id = 0
    for (;;) {
      const head = this.#byte()
      if (head === 0) return { type: 'struct', fields }
      const delta = head >> 4
      id = delta === 0 ? this.#small(16) : id + delta
      if (id > 0x7fff) throw malformed(`field number ${id}`)
      if (seen.has(id)) throw malformed(`field ${id} twice`)
      seen.add(id)
      fields.push({ id, value: this.#fieldValue(head & 0x0f, depth) })
    }
  }

  #fieldValue(number: number, depth: number): ThriftValue {
    if (number === BOOL_TRUE) return { type: 'bool', value: true }
    if (number === TYPE_NUMBERS.bool) return { type: 'bool', value: false }
    return this.#value(typeOf(number), depth)
  }

  #value(type: ThriftType, depth: number): ThriftValue {
    switch (type) {
      case 'bool':
        return { type, value: this.#bool() }
      case 'i8':
        return { type, value: (this.#byte() << 24) >> 24 }
      case 'i16':
        return { type, value: this.#small(16) }
      case 'i32':
        return { type, value: this.#small(32) }
      case 'i64':
        return { type, value: this.#long() }
      case 'double':
        return { type, value: this.#take(8) }
      case 'uuid':
        return { type, value: this.#take(16) }
      case 'binary':
        return { type, value: this.#take(this.#unsigned()) }
      case 'struct':
        return this.struct(depth + 1)
      case 'list':
      case 'set':
        return this.#list(type, depth + 1)
      case 'map':
        return this.#map(depth + 1)
    }
  }

  #list(type: 'list' | 'set', depth: number): ThriftValue {
    if (depth >= MAX_THRIFT_DEPTH) {
      throw new ParquetFooterError('LIMIT', `nested deeper than ${MAX_THRIFT_DEPTH}`)
    }
    const head = this.#byte()
    const short = head >> 4
    const element = elementType(head & 0x0f)
    const count = short === 15 ? this.#unsigned() : short
    this.#requireRoom(count, LEAST_BYTES[element] ?? 1)
    const values: ThriftValue[] = []
    for (let i = 0; i < count; i += 1) values.push(this.#value(element, depth))
    return { type, element, values }
  }

  #map(depth: number): ThriftValue {
    if (depth >= MAX_THRIFT_DEPTH) {
      throw new ParquetFooterError('LIMIT', `nested deeper than ${MAX_THRIFT_DEPTH}`)
    }
    const count = this.#unsigned()
    if (count === 0) return { type: 'map', types: undefined, entries: [] }
    const head = this.#byte()
    const key = elementType(head >> 4)
    const value = elementType(head & 0x0f)
    this.#requireRoom(count, (LEAST_BYTES[key] ?? 1) + (LEAST_BYTES[value] ?? 1))
    const entries: (readonly [ThriftValue, ThriftValue])[] = []
    for (let i = 0; i < count; i += 1) {
      entries.push([this.#value(key, depth), this.#value(value, depth)])
    }
    return { type: 'map', types: [key, value], entries }
  }

  #bool(): boolean {
    const byte = this.#byte()
    if (byte === BOOL_TRUE) return true
    // Older writers put 0 for false.
    if (byte === TYPE_NUMBERS.bool || byte === 0) return false
    throw malformed(`wanted a bool, seen ${byte}`)
  }

  /** A zigzag number of 16 or 32 bits. */
  #small(bits: 16 | 32): number {
    const value = this.#unsigned()
    if (value >= 2 ** bits) throw malformed(`wanted ${bits} bits, seen ${value}`)
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  /** A number of at most 32 bits. */
  #unsigned(): number {
    let value = 0
    for (let factor = 1; factor <= 2 ** 28; factor *= 128) {
      const byte = this.#byte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) {
        if (value >= 2 ** 32) break
        return value
      }
    }
    throw malformed('wanted a number of at most 32 bits')
  }

  #long(): bigint {
    let low = 0
    let value = 0n
    for (let place = 0; place < 10; place += 1) {
      const byte = this.#byte()
      // Seven groups of seven bits fit a double without loss.
      if (place < 7) low += (byte & 0x7f) * 128 ** place
      else value |= BigInt(byte & 0x7f) << BigInt(7 * place)
      if (byte < 0x80) {
        value |= BigInt(low)
        if (value >= 1n << 64n) break
        return (value >> 1n) ^ -(value & 1n)
      }
    }
    throw malformed('wanted a number of at most 64 bits')
  }

  #byte(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw new ParquetFooterError('TRUNCATED', 'the footer is cut off')
    this.#at += 1
    return byte
  }

  #take(length: number): Uint8Array {
    this.#requireRoom(length, 1)
    this.#at += length
    return this.#bytes.slice(this.#at - length, this.#at)
  }

  #requireRoom(count: number, leastBytes: number): void {
    if (count * leastBytes > this.left) {
      throw new ParquetFooterError(
        'TRUNCATED',
        `wanted ${count} items of at least ${leastBytes} bytes, seen ${this.left} bytes`,
      )
    }
  }
}

function typeOf(number: number): ThriftType {
  const type = TYPES.get(number)
  if (type === undefined) throw malformed(`type number ${number}`)
  return type
}

/** Both numbers of `bool` stand for it in a collection. */
function elementType(number: number): ThriftType {
  return number === BOOL_TRUE ? 'bool' : typeOf(number)
}
