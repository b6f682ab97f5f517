import { describe, expect, it } from 'vitest'
import { pooledRandomBytes } from './random-pool.ts'

describe('random bytes of the pool', () => {
  it('are given once each, however many are asked for', () => {
    const seen = new Set<string>()
    const lengths = [12, 16, 32, 1, 1024, 13, 700, 8]
    let bits = 0
    let total = 0
    for (let n = 0; n < 4000; n++) {
      const length = lengths[n % lengths.length] ?? 0
      const bytes = pooledRandomBytes(length)
      expect(bytes).toHaveLength(length)
      if (length < 8) continue
      expect(seen.has(bytes.toString('hex'))).toBe(false)
      seen.add(bytes.toString('hex'))
      for (const byte of bytes) bits += byte.toString(2).replaceAll('0', '').length
      total += 8 * length
    }
    expect(Math.abs(bits / total - 0.5)).toBeLessThan(0.01)
    expect(() => pooledRandomBytes(2000)).toThrow(RangeError)
  })

  it('are the caller’s own', () => {
    const first = pooledRandomBytes(32)
    const copy = Buffer.from(first)
    for (let n = 0; n < 500; n++) pooledRandomBytes(32).fill(0)
    expect(first).toEqual(copy)
  })
})
