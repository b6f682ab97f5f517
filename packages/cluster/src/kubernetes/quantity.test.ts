import { describe, expect, it } from 'vitest'
import { ClusterError } from '../errors.ts'
import { parseQuantity } from './quantity.ts'

describe('an amount of a resource', () => {
  it.each([
    ['1', 1],
    ['100m', 0.1],
    ['512Mi', 536_870_912],
    ['1.5Gi', 1_610_612_736],
    ['16106127360', 16_106_127_360],
    ['2k', 2000],
    ['1e3', 1000],
    ['12E', 12e18],
    ['.5', 0.5],
    ['-1', -1],
  ])('%s is %d', (text, amount) => {
    expect(parseQuantity(text)).toBeCloseTo(amount, 6)
  })

  it.each(['', 'Mi', '1 Gi', '1KI', '0x10', '1e', '1Mi2', 'NaN', '١'])('%j is none', text => {
    expect(() => parseQuantity(text)).toThrow(ClusterError)
  })
})
