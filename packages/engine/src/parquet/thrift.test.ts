import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ParquetFooterError } from './errors.ts'
import {
  MAX_THRIFT_DEPTH,
  type ThriftStruct,
  type ThriftType,
  type ThriftValue,
  withFields,
} from './thrift.ts'
import { decodeThrift } from './thrift-decode.ts'
import { encodeThrift } from './thrift-encode.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

const SCALARS: Readonly<Record<string, fc.Arbitrary<ThriftValue>>> = {
  bool: fc.record({ type: fc.constant('bool' as const), value: fc.boolean() }),
  i8: fc.record({ type: fc.constant('i8' as const), value: fc.integer({ min: -128, max: 127 }) }),
  i16: fc.record({
    type: fc.constant('i16' as const),
    value: fc.integer({ min: -32_768, max: 32_767 }),
  }),
  i32: fc.record({ type: fc.constant('i32' as const), value: fc.integer() }),
  i64: fc.record({
    type: fc.constant('i64' as const),
    value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  }),
  double: fc.record({ type: fc.constant('double' as const), value: bytes(8) }),
  uuid: fc.record({ type: fc.constant('uuid' as const), value: bytes(16) }),
  binary: fc.record({
    type: fc.constant('binary' as const),
    value: fc.uint8Array({ maxLength: 300 }),
  }),
}

function thriftValue(type: ThriftType, depth: number): fc.Arbitrary<ThriftValue> {
  const scalar = SCALARS[type]
  if (scalar !== undefined) return scalar
  if (type === 'struct') return structOf(depth - 1)
  if (type === 'map') return mapOf(depth - 1)
  return collectionOf(type === 'set' ? 'set' : 'list', depth - 1)
}

const typeAt = (depth: number) =>
  fc.constantFrom<ThriftType>(
    'bool',
    'i8',
    'i16',
    'i32',
    'i64',
    'double',
    'uuid',
    'binary',
    ...(depth > 0 ? (['struct', 'list', 'set', 'map'] as const) : []),
  )

function structOf(depth: number): fc.Arbitrary<ThriftStruct> {
  const value = typeAt(depth).chain(type => thriftValue(type, depth))
  const field = fc.record({ id: fc.integer({ min: -32_768, max: 32_767 }), value })
  return fc
    .uniqueArray(field, { selector: ({ id }) => id, maxLength: 6 })
    .map(fields => ({ type: 'struct', fields }))
}

function collectionOf(type: 'list' | 'set', depth: number): fc.Arbitrary<ThriftValue> {
  return typeAt(depth).chain(element =>
    fc
      .array(thriftValue(element, depth), { maxLength: 20 })
      .map(values => ({ type, element, values })),
  )
}

function mapOf(depth: number): fc.Arbitrary<ThriftValue> {
  return fc.tuple(typeAt(depth), typeAt(depth)).chain(types =>
    fc
      .array(fc.tuple(thriftValue(types[0], depth), thriftValue(types[1], depth)), { maxLength: 6 })
      .map(entries => ({
        type: 'map',
        types: entries.length === 0 ? undefined : types,
        entries,
      })),
  )
}

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof ParquetFooterError) return error.code
    throw error
  }
  return 'none'
}

const decoded = (...values: number[]) => decodeThrift(Uint8Array.from(values))

describe('thrift compact protocol', () => {
  it('decodes what it encodes', () => {
    fc.assert(
      fc.property(structOf(3), struct => {
        expect(decodeThrift(encodeThrift(struct))).toEqual(struct)
      }),
      { numRuns: 300 },
    )
  })

  it('gives a value or a coded error for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), input => {
        const code = codeOf(() => {
          const struct = decodeThrift(input)
          expect(decodeThrift(encodeThrift(struct))).toEqual(struct)
        })
        expect(['none', 'TRUNCATED', 'THRIFT', 'LIMIT']).toContain(code)
      }),
      { numRuns: 2000 },
    )
  })

  it('gives a value or a coded error for every bit flipped and every cut', () => {
    fc.assert(
      fc.property(structOf(2), fc.nat(), (struct, seed) => {
        const encoded = encodeThrift(struct)
        const at = seed % encoded.length
        expect(codeOf(() => decodeThrift(encoded.subarray(0, at)))).not.toBe('none')
        const flipped = Uint8Array.from(encoded)
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (seed % 8))
        codeOf(() => decodeThrift(flipped))
      }),
      { numRuns: 500 },
    )
  })

  it('reads the bytes that the specification gives', () => {
    // field 1: i32 -1; field 17: bool true in the long form; field 18: list of 2 bools
    expect(decoded(0x15, 0x01, 0x01, 0x22, 0x19, 0x22, 0x01, 0x02, 0x00)).toEqual({
      type: 'struct',
      fields: [
        { id: 1, value: { type: 'i32', value: -1 } },
        { id: 17, value: { type: 'bool', value: true } },
        {
          id: 18,
          value: {
            type: 'list',
            element: 'bool',
            values: [
              { type: 'bool', value: true },
              { type: 'bool', value: false },
            ],
          },
        },
      ],
    })
  })

  it('refuses a count that the bytes cannot hold, before making room for it', () => {
    // a list of 2^32 - 1 structs, binary of 2^31 bytes, a map of 2^28 entries
    expect(codeOf(() => decoded(0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0))).toBe('TRUNCATED')
    expect(codeOf(() => decoded(0x18, 0x80, 0x80, 0x80, 0x80, 0x08, 0))).toBe('TRUNCATED')
    expect(codeOf(() => decoded(0x1b, 0x80, 0x80, 0x80, 0x80, 0x01, 0x55, 0))).toBe('TRUNCATED')
    expect(codeOf(() => decoded(0x19, 0x37, 1, 2, 3, 4, 5, 6, 7, 8, 0))).toBe('TRUNCATED')
  })

  it('refuses numbers that are too long, fields twice, unknown types and bytes behind', () => {
    expect(codeOf(() => decoded(0x15, 0xff, 0xff, 0xff, 0xff, 0x7f, 0))).toBe('THRIFT')
    expect(codeOf(() => decoded(0x16, ...Array(9).fill(0xff), 0x02, 0))).toBe('THRIFT')
    expect(codeOf(() => decoded(0x14, 0x80, 0x80, 0x04, 0))).toBe('THRIFT')
    expect(codeOf(() => decoded(0x15, 0, 0x05, 0x02, 0, 0))).toBe('THRIFT')
    expect(codeOf(() => decoded(0x1e, 0))).toBe('THRIFT')
    expect(codeOf(() => decoded(0x19, 0x12, 3, 0))).toBe('THRIFT')
    expect(codeOf(() => decoded(0, 0))).toBe('THRIFT')
  })

  it('refuses to nest without end', () => {
    const nested = Array(100_000).fill(0x1c)
    expect(codeOf(() => decoded(...nested.slice(0, 1000)))).toBe('LIMIT')
    expect(codeOf(() => decodeThrift(Uint8Array.from(nested)))).toBe('LIMIT')
    const lists = Array(1000).fill(0x19)
    expect(codeOf(() => decoded(...lists))).toBe('LIMIT')
    const deepest = [...Array(MAX_THRIFT_DEPTH - 1).fill(0x1c), ...Array(MAX_THRIFT_DEPTH).fill(0)]
    expect(codeOf(() => decoded(...deepest))).toBe('none')
  })

  it('replaces, adds and drops fields in order', () => {
    const i32 = (value: number): ThriftValue => ({ type: 'i32', value })
    const struct = decoded(0x15, 2, 0x25, 4, 0)
    const changed = withFields(
      struct,
      new Map([
        [1, undefined],
        [2, i32(7)],
        [3, i32(9)],
        [8, undefined],
      ]),
    )
    expect(changed.fields).toEqual([
      { id: 2, value: i32(7) },
      { id: 3, value: i32(9) },
    ])
  })
})
