import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AttestedTlsError } from '../errors.ts'
import { type FreshBinding, freshReportData } from './binding.ts'
import {
  assertAccept,
  encodeAccept,
  encodeAnswer,
  encodeAnswerOpening,
  encodeFrame,
  encodeHello,
  encodeProof,
  MAX_FRAME_BYTES,
  parseAnswer,
  parseFrameHead,
  parseHello,
  parseProof,
} from './frames.ts'

const numRuns = process.env['SLOW'] === '1' ? 100_000 : 2000
const protocolError = expect.objectContaining({ name: AttestedTlsError.name, code: 'PROTOCOL' })
const openings = fc.record({
  demandsEvidence: fc.boolean(),
  nonce: fc.uint8Array({ minLength: 32, maxLength: 32 }),
})
const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 })
const evidences = fc.oneof(
  fc.record({ evidence: bytes }),
  fc.record({ evidence: bytes, certificates: bytes }),
)

/** Each parser, with what writes what it read. */
const PARSERS: readonly (readonly [string, (payload: Uint8Array) => Uint8Array])[] = [
  ['a hello', payload => encodeHello(parseHello(payload))],
  [
    'an answer',
    payload => {
      const answer = parseAnswer(payload)
      return encodeAnswer(encodeAnswerOpening(answer), answer.evidence)
    },
  ],
  ['a proof', payload => encodeProof(parseProof(payload))],
  [
    'an accept',
    payload => {
      assertAccept(payload)
      return encodeAccept()
    },
  ],
]

/** Payloads of every kind, whole. */
const payloads = fc.oneof(
  openings.map(encodeHello),
  fc
    .tuple(openings, fc.option(evidences, { nil: undefined }))
    .map(([opening, evidence]) => encodeAnswer(encodeAnswerOpening(opening), evidence)),
  evidences.map(encodeProof),
  fc.constant(encodeAccept()),
)

describe('frames', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(openings, evidences, (opening, evidence) => {
        expect(parseHello(encodeHello(opening))).toEqual(opening)
        const start = encodeAnswerOpening(opening)
        expect(parseAnswer(encodeAnswer(start, evidence))).toEqual({ ...opening, evidence })
        expect(parseAnswer(encodeAnswer(start, undefined))).toEqual(opening)
        expect(parseProof(encodeProof(evidence))).toEqual(evidence)
      }),
      { numRuns: numRuns / 10 },
    )
  })

  it.each(PARSERS)('%s: any bytes are one in one way alone, or are refused', (_, rewrite) => {
    const inputs = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      payloads,
      // One byte of a whole one changed, cut or added.
      fc.tuple(payloads, fc.nat(), fc.nat(255)).map(([payload, at, value]) => {
        const changed = Uint8Array.from(payload)
        changed[at % changed.length] = value
        return value % 3 === 0 ? changed.subarray(0, at % changed.length) : changed
      }),
      fc.tuple(payloads, bytes).map(parts => new Uint8Array(Buffer.concat(parts))),
    )
    fc.assert(
      fc.property(inputs, input => {
        try {
          expect(new Uint8Array(rewrite(input))).toEqual(new Uint8Array(input))
        } catch (error) {
          expect(error).toEqual(protocolError)
        }
      }),
      { numRuns },
    )
  })

  it('of one kind are none of another', () => {
    fc.assert(
      fc.property(payloads, payload => {
        const read = PARSERS.filter(([, rewrite]) => {
          try {
            return rewrite(payload).length > 0
          } catch {
            return false
          }
        })
        expect(read.length).toBe(1)
      }),
      { numRuns: numRuns / 10 },
    )
  })

  it('have a length that is judged before any of them is read', () => {
    const head = (length: number) => {
      const four = Buffer.alloc(4)
      four.writeUInt32BE(length)
      return four
    }
    expect(parseFrameHead(head(34), 34)).toBe(34)
    for (const length of [0, 35, 2 ** 31, 2 ** 32 - 1]) {
      expect(() => parseFrameHead(head(length), 34)).toThrow(protocolError)
    }
    expect(() => encodeFrame(new Uint8Array(MAX_FRAME_BYTES + 1))).toThrow(protocolError)
  })
})

describe('report data', () => {
  const binding = (): FreshBinding => ({
    role: 'client',
    exporter: new Uint8Array(32).fill(1),
    serverLeaf: Uint8Array.of(2),
    clientLeaf: Uint8Array.of(3),
    said: [Uint8Array.of(4, 5), Uint8Array.of(6)],
  })
  const hex = (change: Partial<FreshBinding> = {}) =>
    Buffer.from(freshReportData({ ...binding(), ...change })).toString('hex')

  it('is as the specification has it, worked out by hand elsewhere', () => {
    expect(hex()).toBe(
      'e1c8a195022235a8b6fec452166e84ec05eb353f0b4684b15cdb2acef14a635c67c4bd1a3bb1c020b1c517d308eb64a680fffa69abc37d87f8b1d58c7e23f1c4',
    )
  })

  it('is another with any field changed, left out, or moved to another', () => {
    const all = [
      hex(),
      hex({ role: 'server' }),
      hex({ exporter: new Uint8Array(32) }),
      hex({ serverLeaf: Uint8Array.of(3), clientLeaf: Uint8Array.of(2) }),
      hex({ clientLeaf: undefined }),
      hex({ clientLeaf: new Uint8Array() }),
      hex({ said: [Uint8Array.of(4, 5)] }),
      hex({ said: [] }),
    ]
    expect(new Set(all).size).toBe(all.length)
  })
})
