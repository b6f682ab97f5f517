import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  DerError,
  parseDer,
  readBitString,
  readBoolean,
  readIntegerBytes,
  readOctets,
  readOid,
  readSmallInteger,
  readTime,
  TAG,
} from './der.ts'
import {
  bitString,
  boolean,
  der,
  enumerated,
  explicit,
  integer,
  namedBits,
  octetString,
  oid,
  sequence,
  time,
  utf8String,
} from './der-writer.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('DER writer', () => {
  it('writes what X.690 says', () => {
    expect(hex(integer(0))).toBe('020100')
    expect(hex(integer(127))).toBe('02017f')
    expect(hex(integer(128))).toBe('02020080')
    expect(hex(integer(256))).toBe('02020100')
    expect(hex(integer(Uint8Array.of(0, 0, 0x80)))).toBe('02020080')
    expect(hex(enumerated(1))).toBe('0a0101')
    expect(hex(boolean(true))).toBe('0101ff')
    expect(hex(oid('1.2.840.113741.1.13.1'))).toBe('06092a864886f84d010d01')
    expect(hex(oid('2.999.3'))).toBe('0603883703')
    expect(hex(namedBits(5, 6))).toBe('03020106')
    expect(hex(namedBits(0, 8))).toBe('0303078080')
    expect(hex(namedBits())).toBe('030100')
    expect(hex(sequence())).toBe('3000')
    expect(hex(explicit(0, integer(2)))).toBe('a003020102')
    expect(hex(utf8String('é'))).toBe('0c02c3a9')
    expect(hex(time(new Date('2049-12-31T23:59:59Z')))).toBe(
      `170d${Buffer.from('491231235959Z').toString('hex')}`,
    )
    expect(hex(time(new Date('2050-01-01T00:00:00Z')))).toBe(
      `180f${Buffer.from('20500101000000Z').toString('hex')}`,
    )
  })

  it('writes the shortest length', () => {
    for (const [length, header] of [
      [0, '0400'],
      [127, '047f'],
      [128, '048180'],
      [255, '0481ff'],
      [256, '04820100'],
      [65535, '0482ffff'],
      [65536, '0483010000'],
    ] as const) {
      expect(hex(der(TAG.octetString, new Uint8Array(length))).startsWith(header)).toBe(true)
    }
  })

  it('refuses what has no encoding', () => {
    const bad = [
      () => integer(-1),
      () => integer(1.5),
      () => integer(2 ** 53),
      () => oid('1'),
      () => oid('3.1'),
      () => oid('1.40'),
      () => oid('1.2.x'),
      () => oid('1.2.03'),
      () => time(new Date(Number.NaN)),
      () => time(new Date(8.64e15)),
    ]
    for (const run of bad) expect(run).toThrow(DerError)
  })

  it('is undone by the reader', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.boolean(),
        fc.date({
          min: new Date('0001-01-01T00:00:00Z'),
          max: new Date('9999-12-31T23:59:59Z'),
          noInvalidDate: true,
        }),
        fc.tuple(fc.nat(2), fc.nat(39), fc.array(fc.nat({ max: 2 ** 32 }), { maxLength: 8 })),
        (number, bytes, flag, date, [root, second, rest]) => {
          const dotted = [root, second, ...rest].join('.')
          const all = sequence(
            integer(number),
            integer(bytes),
            octetString(bytes),
            bitString(bytes),
            boolean(flag),
            time(date),
            oid(dotted),
          )
          const [a, b, c, d, e, f, g] = parseDer(all).children
          if (!a || !b || !c || !d || !e || !f || !g) throw new Error('seven elements')
          expect(readSmallInteger(a, 2 ** 31)).toBe(number)
          const magnitude = (value: Uint8Array) => BigInt(`0x${hex(value)}`)
          expect(magnitude(readIntegerBytes(b))).toBe(magnitude(bytes))
          expect(readOctets(c)).toEqual(bytes)
          expect(readBitString(d)).toEqual({ unusedBits: 0, bytes })
          expect(readBoolean(e)).toBe(flag)
          expect(readTime(f).getTime()).toBe(Math.floor(date.getTime() / 1000) * 1000)
          expect(readOid(g)).toBe(dotted)
        },
      ),
    )
  })
})
