import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeHostAddress, isLoopback, parseHostAddress, plainAddress } from './address.ts'
import { encodeGreeting, type Greeting, MAX_GREETING, parseGreeting } from './greeting.ts'
import {
  encodeMessage,
  type FromDriver,
  type FromExecutor,
  MAX_MESSAGE,
  parseFromDriver,
  parseFromExecutor,
  shortened,
} from './message.ts'

const runs = process.env['SLOW'] === '1' ? 5000 : 300
const digits = (count: number) =>
  fc
    .array(fc.constantFrom(...'0123456789abcdef'), { minLength: count, maxLength: count })
    .map(parts => parts.join(''))
const name = fc.oneof(
  fc.constant('driver'),
  fc.integer({ min: 1, max: 256 }).map(number => `executor-${number}`),
)
const host = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.domain().filter(domain => domain.length < 200),
)
const port = fc.integer({ min: 1, max: 0xffff })
const greeting: fc.Arbitrary<Greeting> = fc.oneof(
  fc.record({ kind: fc.constant('peer' as const), name, ticket: digits(32) }),
  fc.record({ kind: fc.constant('take' as const), token: digits(32) }),
  fc.record({
    kind: fc.constant('join' as const),
    offer: fc.oneof(
      fc.record({ job: digits(64), id: digits(32) }),
      fc.record({
        ...{ job: digits(64), id: digits(32) },
        listens: fc.oneof(fc.record({ port }), fc.record({ port, host })),
      }),
    ),
  }),
)

describe('the first line between hosts', () => {
  it('is read as it was written, and fits', () => {
    fc.assert(
      fc.property(greeting, one => {
        const line = encodeGreeting(one)
        expect(line.length).toBeLessThanOrEqual(MAX_GREETING)
        expect(line.endsWith('\n')).toBe(true)
        expect(parseGreeting(line.slice(0, -1))).toEqual(one)
      }),
      { numRuns: runs },
    )
  })

  it('is nothing, or what it would be written as, whatever it is', () => {
    const pieces = fc.constantFrom('join', 'join 1', 'take', 'driver', 'executor-1', ' ', '\n', '0')
    const mixed = fc
      .array(fc.oneof(pieces, digits(32), digits(64), fc.string()))
      .map(all => all.join(' '))
    const altered = fc
      .tuple(greeting, fc.nat(), fc.string({ maxLength: 2 }))
      .map(([one, at, with_]) => {
        const line = encodeGreeting(one).slice(0, -1)
        const where = at % line.length
        return line.slice(0, where) + with_ + line.slice(where + 1)
      })
    fc.assert(
      fc.property(fc.oneof(mixed, altered, fc.string()), line => {
        const parsed = parseGreeting(line)
        if (parsed !== undefined) expect(encodeGreeting(parsed)).toBe(`${line}\n`)
      }),
      { numRuns: runs },
    )
  })

  it.each([
    ...['', ' ', 'driver', 'executor-0 ', 'join', 'join 1', 'take '],
    `executor-0 ${'0'.repeat(32)}`,
    `executor-1 ${'0'.repeat(32)} `,
    `executor-1000 ${'0'.repeat(32)}`,
    `driver ${'A'.repeat(32)}`,
    `join 2 ${'0'.repeat(64)} ${'0'.repeat(32)}`,
    `join 1 ${'0'.repeat(64)} ${'0'.repeat(32)} 0`,
    `join 1 ${'0'.repeat(64)} ${'0'.repeat(32)} 65536`,
    `join 1 ${'0'.repeat(64)} ${'0'.repeat(32)} 7400 a b`,
    `join 1 ${'0'.repeat(64)} ${'0'.repeat(32)} 7400 ${'a'.repeat(254)}`,
  ])('is not %j', line => {
    expect(parseGreeting(line)).toBeUndefined()
  })
})

describe('a message between hosts', () => {
  const text = fc.string({ maxLength: 3000, unit: 'binary' }).map(shortened)
  const fromDriver: fc.Arbitrary<FromDriver> = fc.oneof(
    fc.constant({ kind: 'beat' as const }),
    fc.record({
      kind: fc.constant('refused' as const),
      code: fc.constantFrom('JOB' as const, 'ADDRESS' as const, 'FULL' as const, 'OVER' as const),
      message: text,
    }),
    fc.record({
      kind: fc.constant('place' as const),
      executors: fc.integer({ min: 1, max: 64 }),
      number: fc.integer({ min: 1, max: 256 }),
      ...{ runId: digits(32), ticket: digits(32) },
    }),
    fc.record({
      kind: fc.constant('at' as const),
      ...{ name, ticket: digits(32), address: fc.record({ host, port }) },
    }),
    fc.record({ kind: fc.constant('fetch' as const), token: digits(32) }),
  )
  const fromExecutor: fc.Arbitrary<FromExecutor> = fc.oneof(
    fc.constant({ kind: 'step' as const, step: 'attested' as const }),
    fc.record({
      kind: fc.constant('ended' as const),
      how: fc.constantFrom('served' as const, 'refused' as const, 'lost' as const),
      why: text,
    }),
  )

  it('is read as it was written, and fits', () => {
    fc.assert(
      fc.property(fromDriver, fromExecutor, (one, other) => {
        for (const message of [one, other]) {
          const line = encodeMessage(message)
          expect(line.indexOf('\n')).toBe(line.length - 1)
          expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_MESSAGE)
        }
        expect(parseFromDriver(encodeMessage(one))).toEqual(JSON.parse(encodeMessage(one)))
        expect(parseFromExecutor(encodeMessage(other))).toEqual(JSON.parse(encodeMessage(other)))
      }),
      { numRuns: runs },
    )
  })

  it('is nothing where it is anything else', () => {
    const odd = [
      ...[{}, [], null, 7, { kind: 'other' }, { kind: 'beat', more: 1 }],
      { kind: 'place', executors: 65, number: 1, runId: '0'.repeat(32), ticket: '0'.repeat(32) },
      { kind: 'place', executors: 2, number: 0, runId: '0'.repeat(32), ticket: '0'.repeat(32) },
      { kind: 'at', name: 'executor-1', ticket: '0'.repeat(32), address: { host: 'a b', port: 1 } },
      { kind: 'at', name: '__proto__', ticket: '0'.repeat(32) },
      { kind: 'ended', how: 'lost', why: 'x'.repeat(1001) },
      { kind: 'step', step: 'other' },
    ].map(value => JSON.stringify(value))
    for (const line of [...odd, '', '{', '{"kind":"beat"}}']) {
      expect(parseFromDriver(line), line).toBeUndefined()
      expect(parseFromExecutor(line), line).toBeUndefined()
    }
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), line => {
        expect([undefined, 'beat']).toContain(parseFromExecutor(line)?.kind)
      }),
      { numRuns: runs },
    )
  })
})

describe('the address of a host', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(host, port, (its, at) => {
        const address = { host: its, port: at }
        expect(parseHostAddress(encodeHostAddress(address))).toEqual(address)
      }),
      { numRuns: runs },
    )
  })

  it.each([
    '',
    ':1',
    'a',
    'a:',
    'a:0',
    'a:65536',
    'a:1:2',
    '::1:1',
    '[a]:1',
    'a b:1',
    'http://a:1',
  ])('is not %j', text => {
    expect(parseHostAddress(text)).toBeUndefined()
  })

  it('may have any port where the system is to choose it', () => {
    expect(parseHostAddress('127.0.0.1:0', { anyPort: true })).toEqual({
      host: '127.0.0.1',
      port: 0,
    })
    expect(parseHostAddress(':0', { anyPort: true })).toBeUndefined()
  })

  it('is of this machine alone, or not', () => {
    expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].map(isLoopback)).not.toContain(false)
    const others = ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example', '12.7.0.1', '127']
    expect(others.map(isLoopback)).not.toContain(true)
    expect(plainAddress('::ffff:10.0.0.1')).toBe('10.0.0.1')
    expect(plainAddress('2001:db8::1')).toBe('2001:db8::1')
  })
})
