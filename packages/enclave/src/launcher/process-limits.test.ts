import { describe, expect, it } from 'vitest'
import { hasMemoryLimits, hasProcessLimits } from './process-limits.ts'

describe('a limit on processes by the kernel’s resource limits', () => {
  it('is relied on from the version that counts by user namespace', () => {
    for (const old of ['4.18.0-553.el8', '5.4.0-150-generic', '5.13.19']) {
      expect(hasProcessLimits(old), old).toBe(false)
    }
    for (const recent of ['5.14.0-427.el9', '5.15.0', '6.1.0-18-amd64', '10.0.0']) {
      expect(hasProcessLimits(recent), recent).toBe(hasMemoryLimits())
    }
  })
})
