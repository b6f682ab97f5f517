import { generateKeyPairSync, sign, verify } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rawSignature } from './ecdsa.ts'

const DATA = Buffer.from('what is signed')
const CURVES = [
  ['P-256', 'sha256', 32],
  ['P-384', 'sha384', 48],
] as const

describe.each(CURVES)('a signature of %s in DER', (namedCurve, hash, size) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve })
  const byOpenssl = (der: Uint8Array) => {
    try {
      return verify(hash, DATA, publicKey, der)
    } catch {
      return false
    }
  }
  const byUs = (der: Uint8Array) => {
    const raw = rawSignature(der, size)
    const options = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
    return raw !== undefined && verify(hash, DATA, options, raw)
  }

  it('is what OpenSSL takes it for', () => {
    for (let round = 0; round < 100; round++) {
      // Fresh each time: numbers with and without a zero before them, and shorter ones.
      const der = new Uint8Array(sign(hash, DATA, privateKey))
      expect([byOpenssl(der), byUs(der)]).toEqual([true, true])
    }
  })

  it('however its bytes are changed, cut, or go on', () => {
    const good = new Uint8Array(sign(hash, DATA, privateKey))
    const edits = fc.array(fc.tuple(fc.nat(7), fc.nat(255)), { maxLength: 2 })
    fc.assert(
      fc.property(edits, fc.constantFrom(-1, 0, 0, 1), (changes, longer) => {
        const der = new Uint8Array(good.length + longer)
        der.set(good.subarray(0, der.length))
        for (const [at, value] of changes) der[at] = value
        expect(byUs(der)).toBe(byOpenssl(der))
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    ['a zero too many before r', '300702020001020101'],
    ['a number below zero', '3006020181020101'],
    ['none', '3003020101'],
    ['a third number', '3009020101020101020101'],
    ['nothing', ''],
    ['a length in more bytes than it takes', '308106020101020101'],
  ])('%s is none', (_what, hex) => {
    expect(rawSignature(new Uint8Array(Buffer.from(hex, 'hex')), size)).toBeUndefined()
  })
})
