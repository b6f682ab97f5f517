import type { PckExtension, SgxTcbInfo } from '@cloister/attestation'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type PlatformPck, tcbmOf } from '../documents/platform-pcks.ts'
import { selectPck } from './select-pck.ts'

/** The first two components and PCESVN; the others are zero. */
type Svns = readonly [number, number, number]

const FACTS = { tcbDate: new Date(0), status: 'UpToDate', advisoryIds: [] } as const
const components = ([a, b]: Svns) => [a, b, ...Array<number>(14).fill(0)]

function tcbInfo(...levels: readonly Svns[]): SgxTcbInfo {
  return {
    ...{ id: 'SGX', version: 3, fmspc: new Uint8Array(6), pceId: new Uint8Array(2) },
    ...{ issueDate: new Date(0), nextUpdate: new Date(0), tcbEvaluationDataNumber: 1 },
    levels: levels.map(svns => ({ ...FACTS, components: components(svns), pceSvn: svns[2] })),
  }
}

function pck(...svns: Svns): PlatformPck {
  const cpusvn = Uint8Array.from(components(svns))
  const extension: PckExtension = {
    ...{ ppid: new Uint8Array(16), tcbComponents: components(svns), pcesvn: svns[2], cpusvn },
    ...{ pceid: new Uint8Array(2), fmspc: new Uint8Array(6), sgxType: 0 },
  }
  return { pem: svns.join(), extension, tcbm: tcbmOf(cpusvn, svns[2]) }
}

function raw(...[a, b, pce]: Svns) {
  const pceSvn = Buffer.from([pce & 0xff, pce >> 8]).toString('hex')
  return { cpuSvn: Buffer.from(components([a, b, pce])).toString('hex'), pceSvn }
}

const info = tcbInfo([4, 4, 10], [3, 3, 9], [2, 2, 5])

describe('the PCK certificate of a TCB', () => {
  it('is the one of the highest level that it reaches', () => {
    const certificates = [pck(2, 2, 5), pck(4, 4, 10), pck(3, 3, 9)]
    const chosen = (...tcb: Svns) => selectPck(raw(...tcb), certificates, info)?.pem
    expect(chosen(4, 4, 10)).toBe('4,4,10')
    expect(chosen(9, 9, 300)).toBe('4,4,10')
    expect(chosen(4, 3, 10)).toBe('3,3,9')
    expect(chosen(4, 4, 9)).toBe('3,3,9')
    expect(chosen(2, 2, 5)).toBe('2,2,5')
    expect(chosen(1, 9, 9)).toBeUndefined()
  })

  it('is, in a level, the one with the highest versions', () => {
    const certificates = [pck(4, 4, 10), pck(4, 5, 10), pck(4, 5, 11)]
    expect(selectPck(raw(4, 5, 11), certificates, info)?.pem).toBe('4,5,11')
    expect(selectPck(raw(4, 5, 10), certificates, info)?.pem).toBe('4,5,10')
    expect(selectPck(raw(4, 4, 99), certificates, info)?.pem).toBe('4,4,10')
  })

  it('is, where two cannot be compared, the one that came first', () => {
    const [one, other] = [pck(4, 9, 10), pck(9, 4, 10)]
    expect(selectPck(raw(9, 9, 10), [one, other], info)).toBe(one)
    expect(selectPck(raw(9, 9, 10), [other, one], info)).toBe(other)
    expect(selectPck(raw(9, 8, 10), [one, other], info)).toBe(other)
  })

  it('may reach no level at all, and comes last then', () => {
    expect(selectPck(raw(1, 1, 1), [pck(1, 1, 1)], info)?.pem).toBe('1,1,1')
    expect(selectPck(raw(9, 9, 9), [pck(1, 1, 9), pck(2, 2, 5)], info)?.pem).toBe('2,2,5')
    expect(selectPck(raw(9, 9, 9), [], info)).toBeUndefined()
  })

  it('is always one that the platform reaches, and in the highest level of those', () => {
    const svns = fc.tuple(fc.nat(6), fc.nat(6), fc.nat(12))
    const level = (tcb: Svns) =>
      info.levels.findIndex(one =>
        [...one.components.slice(0, 2), one.pceSvn].every((svn, i) => (tcb[i] ?? 0) >= svn),
      )
    const rank = (tcb: Svns) => (level(tcb) < 0 ? info.levels.length : level(tcb))
    const reached = (tcb: Svns, by: Svns) => tcb.every((svn, i) => (by[i] ?? 0) >= svn)
    fc.assert(
      fc.property(svns, fc.array(svns, { maxLength: 12 }), (platform, all) => {
        const chosen = selectPck(
          raw(...platform),
          all.map(tcb => pck(...tcb)),
          info,
        )
        const reachable = all.filter(tcb => reached(tcb, platform))
        if (chosen === undefined) {
          expect(reachable).toEqual([])
          return
        }
        const own = chosen.pem.split(',').map(Number) as unknown as Svns
        expect(reached(own, platform)).toBe(true)
        expect(rank(own)).toBe(Math.min(...reachable.map(rank)))
        // Nothing reachable of its level is higher.
        const higher = reachable.filter(tcb => rank(tcb) === rank(own) && reached(own, tcb))
        expect(higher.every(tcb => tcb.join() === chosen.pem)).toBe(true)
      }),
    )
  })
})
