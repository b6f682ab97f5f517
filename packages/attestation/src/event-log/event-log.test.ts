import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CodedError } from '../errors.ts'
import { createSimPlatform } from '../sim/platform.ts'
import type { TdClaims, Verified } from '../verify/claims.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import {
  EV_NO_ACTION,
  type EventLog,
  encodeEventLog,
  type MeasuredEvent,
  parseEventLog,
  TPM_ALG_SHA384,
} from './event-log.ts'
import { replayEventLog, verifyEventLog } from './replay.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const platform = createSimPlatform({ createdAt: AT })

const sha384 = (...parts: readonly Uint8Array[]) =>
  new Uint8Array(parts.reduce((hash, part) => hash.update(part), createHash('sha384')).digest())

const measured = (register: number, text: string, type = 0x80000007): MeasuredEvent => {
  const data = new Uint8Array(Buffer.from(text))
  return { register, type, digests: [{ algorithm: TPM_ALG_SHA384, digest: sha384(data) }], data }
}

const log: EventLog = {
  algorithms: [TPM_ALG_SHA384],
  events: [
    measured(1, 'firmware'),
    measured(2, 'boot loader'),
    measured(1, 'secure boot variables'),
    measured(3, 'kernel command line'),
    { ...measured(1, 'of no register'), type: EV_NO_ACTION },
  ],
}

/** A verified TD whose registers are as given. */
function tdWith(rtmrs: readonly Uint8Array[]): Verified<TdClaims> {
  const [a, b, c, d] = rtmrs
  if (!a || !b || !c || !d) throw new Error('four registers')
  const claims = verifyEvidence({
    evidence: platform.quoteTd({ rtmrs: [a, b, c, d] }),
    collateral: platform.tdxCollateral(AT),
    roots: [platform.trustRoot],
    at: AT,
  })
  if (claims.kind !== 'td') throw new Error('a trust domain')
  return claims
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'none'
}

describe('an event log', () => {
  const bytes = encodeEventLog(log)

  it('is read as it was written, filled up or not', () => {
    expect(parseEventLog(bytes)).toEqual(log)
    for (const filling of [0xff, 0]) {
      const area = new Uint8Array(bytes.length + 4096).fill(filling)
      area.set(bytes)
      expect(parseEventLog(area)).toEqual(log)
    }
  })

  it('is replayed by extending: SHA-384 over the register and the digest', () => {
    const [rtmr0, rtmr1, rtmr2, rtmr3] = replayEventLog(log)
    const digest = (text: string) => sha384(Buffer.from(text))
    const first = sha384(new Uint8Array(48), digest('firmware'))
    expect(rtmr0).toEqual(sha384(first, digest('secure boot variables')))
    expect(rtmr1).toEqual(sha384(new Uint8Array(48), digest('boot loader')))
    expect(rtmr2).toEqual(sha384(new Uint8Array(48), digest('kernel command line')))
    expect(rtmr3).toEqual(new Uint8Array(48))
  })

  it('is believed when a verified quote has the same registers, and not otherwise', () => {
    expect(verifyEventLog(log, tdWith(replayEventLog(log)))).toHaveLength(4)
    const { events } = log
    const changes: readonly EventLog[] = [
      { ...log, events: events.slice(1) },
      { ...log, events: [...events].reverse() },
      { ...log, events: [...events, measured(4, 'more')] },
      { ...log, events: events.map((event, at) => (at === 0 ? { ...event, register: 4 } : event)) },
      { ...log, events: [] },
    ]
    for (const changed of changes) {
      expect(codeOf(() => verifyEventLog(changed, tdWith(replayEventLog(log))))).toBe('RTMR')
    }
    const more = { ...log, events: [...events, measured(5, 'no register')] }
    expect(codeOf(() => replayEventLog(more))).toBe('LENGTH')
    expect(codeOf(() => replayEventLog({ algorithms: [0x000b], events: [] }))).toBe('LENGTH')
  })

  it('gives what was measured, and nothing that a host adds or changes later', () => {
    const own = parseEventLog(bytes.slice())
    const td = tdWith(replayEventLog(own))
    const forged = { ...measured(77, 'forged, measured nowhere'), type: EV_NO_ACTION }
    const given = { ...own, events: [...own.events, forged] }
    const events = verifyEventLog(given, td)
    given.events.push(measured(1, 'later'))
    own.events[0]?.data.fill(0)
    own.events[0]?.digests[0]?.digest.fill(0)
    expect(events.map(({ rtmr }) => rtmr)).toEqual([0, 1, 0, 2])
    expect(Buffer.from(events[0]?.unverifiedData ?? '').toString()).toBe('firmware')
    expect(events[0]?.sha384).toEqual(sha384(Buffer.from('firmware')))
  })

  it('is refused cut at any byte that is not an event’s end', () => {
    const ends = new Set<number>()
    for (let count = 0; count <= log.events.length; count++) {
      ends.add(encodeEventLog({ ...log, events: log.events.slice(0, count) }).length)
    }
    for (let length = 0; length < bytes.length; length++) {
      const code = codeOf(() => parseEventLog(bytes.subarray(0, length)))
      // What is cut after a register's zero bytes could be filling; its registers then differ.
      if (ends.has(length)) expect(code).toBe('none')
      else expect([length, code]).not.toEqual([length, 'none'])
    }
  })

  it('gives a log or a coded error for any bytes', () => {
    const edits = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 5 })
    fc.assert(
      fc.property(edits, list => {
        const changed = bytes.slice()
        for (const [at, value] of list) changed[at] = value
        codeOf(() => replayEventLog(parseEventLog(changed)))
      }),
      { numRuns: 1000 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), any => {
        codeOf(() => parseEventLog(any))
      }),
    )
    expect(codeOf(() => parseEventLog(new Uint8Array(64 << 20)))).toBe('LIMIT')
  })
})
