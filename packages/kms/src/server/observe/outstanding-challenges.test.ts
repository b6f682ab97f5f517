import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CHALLENGE_LIFE_MS } from '../attest/challenge.ts'
import { OutstandingChallenges } from './outstanding-challenges.ts'

const at = (milliseconds: number) => new Date(1.7e12 + milliseconds)

describe('outstanding challenges', () => {
  it('are those that were issued, until they are used or end', () => {
    const outstanding = new OutstandingChallenges()
    outstanding.issued(at(0))
    outstanding.issued(at(0))
    outstanding.issued(at(60_000))
    expect(outstanding.count(at(60_000))).toBe(3)
    outstanding.used(at(0), at(61_000))
    expect(outstanding.count(at(61_000))).toBe(2)
    expect(outstanding.count(at(CHALLENGE_LIFE_MS + 10_000))).toBe(1)
    expect(outstanding.count(at(10 * CHALLENGE_LIFE_MS))).toBe(0)
  })

  it('are as many as a list of them all would have, to a span of five seconds', () => {
    const steps = fc.array(
      fc.record({ wait: fc.integer({ min: 0, max: 90_000 }), isUsed: fc.boolean() }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(steps, acts => {
        const outstanding = new OutstandingChallenges()
        const issued: number[] = []
        let now = 0
        for (const { isUsed, wait } of acts) {
          now += wait
          const one = issued.findIndex(time => time + CHALLENGE_LIFE_MS > now)
          if (isUsed && one >= 0) {
            outstanding.used(at(issued[one] ?? 0), at(now))
            issued.splice(one, 1)
          } else {
            outstanding.issued(at(now))
            issued.push(now)
          }
          const living = (life: number) => issued.filter(time => time + life > now).length
          const count = outstanding.count(at(now))
          expect(count).toBeGreaterThanOrEqual(living(CHALLENGE_LIFE_MS))
          expect(count).toBeLessThanOrEqual(living(CHALLENGE_LIFE_MS + 10_000))
        }
      }),
    )
  })
})
