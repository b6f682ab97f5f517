import {
  type ThriftList,
  type ThriftMap,
  type ThriftStruct,
  type ThriftValue,
  TYPE_NUMBERS,
} from './thrift.ts'

const BOOL_TRUE = 1

/** Encodes a struct in Thrift's compact protocol. */
export function encodeThrift(struct: ThriftStruct): Uint8Array {
  const encoder = new Encoder()
  encoder.struct(struct)
  return encoder.bytes()
}

class Encoder {
  #bytes = new Uint8Array(4096)
  #length = 0

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  struct({ fields }: ThriftStruct): void {
    let last = 0
    for (const { id, value } of fields) {
      const number = value.type === 'bool' && value.value ? BOOL_TRUE : TYPE_NUMBERS[value.type]
      const delta = id - last
      if (delta >= 1 && delta <= 15) this.#byte((delta << 4) | number)
      else {
        this.#byte(number)
        this.#small(id)
      }
      last = id
      if (value.type !== 'bool') this.#value(value)
    }
    this.#byte(0)
  }

  #value(value: ThriftValue): void {
    switch (value.type) {
      case 'bool':
        this.#byte(value.value ? BOOL_TRUE : TYPE_NUMBERS.bool)
        break
      case 'i8':
        this.#byte(value.value & 0xff)
        break
      case 'i16':
      case 'i32':
        this.#small(value.value)
        break
      case 'i64':
        this.#long(value.value)
        break
      case 'double':
      case 'uuid':
        this.#append(value.value)
        break
      case 'binary':
        this.#unsigned(value.value.length)
        this.#append(value.value)
        break
      case 'struct':
        this.struct(value)
        break
      case 'list':
      case 'set':
        this.#list(value)
        break
      case 'map':
        this.#map(value)
        break
    }
  }

  #list({ element, values }: ThriftList): void {
    this.#byte((Math.min(values.length, 15) << 4) | TYPE_NUMBERS[element])
    if (values.length >= 15) this.#unsigned(values.length)
    for (const value of values) this.#value(value)
  }

  #map({ types, entries }: ThriftMap): void {
    this.#unsigned(entries.length)
    if (types === undefined) return
    const [key, value] = types
    this.#byte((TYPE_NUMBERS[key] << 4) | TYPE_NUMBERS[value])
    for (const entry of entries) for (const part of entry) this.#value(part)
  }

  #small(value: number): void {
    this.#unsigned(value < 0 ? -value * 2 - 1 : value * 2)
  }

  #unsigned(value: number): void {
    let left = value
    while (left >= 0x80) {
      this.#byte((left % 0x80) | 0x80)
      left = Math.floor(left / 0x80)
    }
    this.#byte(left)
  }

  #long(value: bigint): void {
    const zigzag = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    let left = zigzag
    while (left >= 0x80n) {
      this.#byte(Number(left & 0x7fn) | 0x80)
      left >>= 7n
    }
    this.#byte(Number(left))
  }

  #byte(value: number): void {
    this.#room(1)
    this.#bytes[this.#length] = value
    this.#length += 1
  }

  #append(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  #room(count: number): void {
    if (this.#length + count <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
  }
}
