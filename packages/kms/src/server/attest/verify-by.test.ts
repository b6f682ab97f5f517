import {
  type Collateral,
  createSimPlatform,
  createSimSnpPlatform,
  type SnpCollateral,
  verifyEvidence,
} from '@cloister/attestation'
import { describe, expect, it } from 'vitest'
import { verifyBy } from './verify-by.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const LATER = new Date('2027-03-01T00:00:00Z')

const platform = createSimPlatform({ createdAt: AT })
const quote = platform.quote({
  ...{ mrEnclave: new Uint8Array(32).fill(1), mrSigner: new Uint8Array(32).fill(2) },
  ...{ isvProdId: 1, isvSvn: 1, debug: false, reportData: new Uint8Array(64) },
})
const milan = createSimSnpPlatform({ createdAt: AT })
const report = milan.report({ measurement: new Uint8Array(48), reportData: new Uint8Array(64) })
const judged = { roots: [platform.trustRoot, milan.trustRoot], at: AT }

/** Collateral, and how often its revocation list was read so far. */
function counted<T extends Collateral | SnpCollateral>(collateral: T, list: keyof T) {
  let reads = 0
  const value = collateral[list]
  const get = () => {
    reads += 1
    return value
  }
  const watched = Object.defineProperty({ ...collateral }, list, { enumerable: true, get })
  return { collateral: watched, reads: () => reads }
}

/** What an error says, or `none`. */
function refusalOf(act: () => unknown): readonly unknown[] | 'none' {
  try {
    act()
    return 'none'
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error
    return [error.name, error.code, error.message]
  }
}

const good = platform.collateral(AT)
const chip = milan.collateral(AT)
const REFUSED = [
  ['that was altered', good, { tcbInfo: good.tcbInfo.replace('"version"', '"vErsion"') }, AT],
  ['of another root', createSimPlatform({ createdAt: AT }).collateral(AT), {}, AT],
  ['that is over', good, {}, LATER],
] as const

describe('collateral that does not verify', () => {
  it.each(REFUSED)(
    '%s is verified once for each quote, which says why',
    (_what, of, change, at) => {
      const once = counted({ ...of, ...change }, 'rootCaCrl')
      const alone = refusalOf(() =>
        verifyEvidence({ evidence: quote, collateral: once.collateral, ...judged, at }),
      )
      expect(alone).not.toBe('none')
      const reads = once.reads()
      for (let quotes = 1; quotes <= 3; quotes += 1) {
        const seen = refusalOf(() => verifyBy(once.collateral, quote, { ...judged, at }))
        expect(seen).toEqual(alone)
        expect(once.reads()).toBe((1 + quotes) * reads)
      }
    },
  )

  it('serves from when on it does', () => {
    const early = platform.collateral(LATER)
    const { collateral, reads } = counted(early, 'rootCaCrl')
    expect(refusalOf(() => verifyBy(collateral, quote, judged))).toContain('NOT_YET_VALID')
    verifyBy(collateral, quote, { ...judged, at: LATER })
    const before = reads()
    verifyBy(collateral, quote, { ...judged, at: LATER })
    expect(reads()).toBe(before)
  })
})

describe('collateral that verified', () => {
  it.each([
    ['of enclaves', counted(good, 'rootCaCrl'), quote],
    ['of SEV-SNP', counted(chip, 'crl'), report],
  ])(
    '%s is not read again for other evidence; dates are',
    (_what, { collateral, reads }, evidence) => {
      verifyBy(collateral, evidence, judged)
      const before = reads()
      expect(verifyBy(collateral, evidence, judged).verifiedAt).toEqual(AT)
      expect(reads()).toBe(before)
      const late = { ...judged, at: new Date('2040-01-01T00:00:00Z') }
      expect(refusalOf(() => verifyBy(collateral, evidence, late))).not.toBe('none')
      expect(reads()).toBe(before)
    },
  )
})
