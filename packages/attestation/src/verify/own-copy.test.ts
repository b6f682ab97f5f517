import { describe, expect, it } from 'vitest'
import { createSimPlatform } from '../sim/platform.ts'
import { createSimSnpPlatform } from '../sim/snp-platform.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import { verifyCollateral } from './verified-collateral.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const LATE = new Date('2026-06-01T00:00:00Z')
const options = { createdAt: AT, tcbStatus: 'OutOfDate' } as const
const platform = createSimPlatform(options)
const milan = createSimSnpPlatform({ createdAt: AT })
const ENCLAVE = {
  ...{ mrEnclave: new Uint8Array(32), mrSigner: new Uint8Array(32), isvProdId: 1, isvSvn: 1 },
  ...{ debug: false, reportData: new Uint8Array(64) },
}

/** What a type without `readonly` members lets a caller do: dates put off, bytes and lists filled. */
function spoil(claim: unknown): void {
  if (typeof claim !== 'object' || claim === null) return
  if (claim instanceof Date) claim.setUTCFullYear(2040)
  else if (claim instanceof Uint8Array) claim.fill(0xff)
  else for (const member of Object.values(claim)) spoil(member)
  if (Array.isArray(claim)) claim.length = 0
}

describe('what a caller does to claims', () => {
  const { trustRoot: root } = platform
  it.each([
    ['a quote of SGX', platform.quote(ENCLAVE), platform.collateral(AT), root],
    ['a quote of TDX', platform.quoteTd({}), platform.tdxCollateral(AT), root],
    ['a report of SEV-SNP', milan.report({}), milan.collateral(AT), milan.trustRoot],
  ] as const)('changes nothing of verified collateral: %s', (_name, evidence, given, trustRoot) => {
    const roots = [trustRoot]
    const collateral = verifyCollateral({ collateral: given, roots, at: AT })
    const verify = (at: Date) => verifyEvidence({ evidence, collateral, roots, at })
    const before = structuredClone(verify(AT))
    spoil(verify(AT))
    expect(verify(AT)).toEqual(before)
    expect(() => verify(LATE)).toThrow(/expired/)
  })
})
