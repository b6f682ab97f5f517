import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { PUBLISHED_TCB_STATUSES, TCB_STATUSES } from '../collateral/tcb-status.ts'
import { createSimPlatform } from '../sim/platform.ts'
import type { VerifiedEvidence } from '../verify/claims.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import {
  AT,
  base,
  CASES,
  codesOf,
  DAY,
  evidenceOf,
  MR_ENCLAVE,
  MR_TD,
  onPlatform,
  tdOf,
} from './appraisal-cases.test.support.ts'
import { appraiseEvidence } from './appraise.ts'
import { policyDigestOf, readAppraisalPolicy } from './policy.ts'
import { REASON_CODES } from './reasons.ts'

describe('appraiseEvidence', () => {
  it.each(CASES)('$name: $reasons', one => {
    expect(codesOf(one.evidence(), one.policy ?? {})).toEqual(one.reasons)
  })

  it('has a case for each reason', () => {
    const tried = new Set(CASES.flatMap(({ reasons }) => reasons))
    expect(REASON_CODES.filter(code => !tried.has(code))).toEqual([])
  })

  it.each(PUBLISHED_TCB_STATUSES)('status %s passes only where it is listed', tcbStatus => {
    const evidence = evidenceOf({ tcbStatus })
    expect(codesOf(evidence, onPlatform({ tcbStatuses: [tcbStatus] }))).toEqual([])
    const others = TCB_STATUSES.filter(status => status !== tcbStatus)
    expect(codesOf(evidence, onPlatform({ tcbStatuses: others }))).toEqual(['TCB_STATUS'])
  })

  it('gives the evidence, until when it is good, and the policy’s digest either way', () => {
    const evidence = evidenceOf()
    const policy = readAppraisalPolicy({ ...base, ...onPlatform({ collateralGraceDays: 5 }) })
    expect(appraiseEvidence(evidence, policy)).toEqual({
      verdict: 'trusted',
      evidence,
      goodUntil: new Date(AT.getTime() + 35 * DAY),
      policyDigest: policyDigestOf(policy),
    })
    const strict = readAppraisalPolicy({ ...base, tees: [] })
    expect(appraiseEvidence(evidence, strict)).toEqual({
      verdict: 'rejected',
      reasons: [
        {
          ...{
            code: 'TEE',
            wanted: 'nothing is allowed',
            seen: 'sim',
            change: 'add sim to `tees`',
          },
          edits: [{ path: 'tees', value: ['sim'] }],
        },
      ],
      policyDigest: policyDigestOf(strict),
    })
  })
})

describe('a grace for collateral', () => {
  it('does not outlast a certificate, which has none', () => {
    const platform = createSimPlatform({ createdAt: AT, validForDays: 40 })
    const { report } = evidenceOf()
    const evidence = verifyEvidence({
      evidence: platform.quote({ ...report, debug: false }),
      collateral: platform.collateral(new Date(AT.getTime() + 20 * DAY)),
      roots: [platform.trustRoot],
      at: new Date(AT.getTime() + 21 * DAY),
    })
    expect(evidence.certificateExpiration).toEqual(evidence.earliestExpiration)
    const platform30 = { tcbStatuses: ['UpToDate'], collateralGraceDays: 30 }
    const policy = readAppraisalPolicy({ ...base, platform: platform30 })
    expect(appraiseEvidence(evidence, policy)).toMatchObject({
      verdict: 'trusted',
      goodUntil: evidence.certificateExpiration,
    })
  })
})

describe('a TDX module that is out of date', () => {
  const tdPolicy = (grace: number) =>
    readAppraisalPolicy({
      ...{ version: 1, tees: ['sim'], tds: [{ mrTd: MR_TD }] },
      platform: { tcbStatuses: ['UpToDate', 'OutOfDate'], platformGraceDays: grace },
    })
  const old = {
    ...tdOf(),
    tcbStatus: 'OutOfDate',
    tdxModule: { id: 'TDX_01', tcbStatus: 'OutOfDate', tcbDate: new Date('2023-03-01T12:00:00Z') },
  } as VerifiedEvidence

  it('counts from its own date, whatever newer level the platform has', () => {
    expect(appraiseEvidence(old, tdPolicy(1096))).toMatchObject({ verdict: 'trusted' })
    expect(appraiseEvidence(old, tdPolicy(1095))).toMatchObject({
      reasons: [{ code: 'TCB_STATUS' }],
    })
  })

  it('is trusted no longer than its grace lasts', () => {
    const appraisal = appraiseEvidence(old, tdPolicy(1097))
    expect(appraisal).toMatchObject({ goodUntil: new Date(AT.getTime() + DAY) })
  })
})

describe('policyDigestOf', () => {
  it('is SHA-256 of the canonical JSON', () => {
    const text =
      `{"enclaves":[{"mrEnclave":"${MR_ENCLAVE}"}],` +
      '"platform":{"minTcbDate":"2025-01-01T00:00:00.000Z","minTcbEvaluationDataNumber":17,' +
      '"refusedAdvisories":["INTEL-SA-00289"],"tcbStatuses":["UpToDate"]},' +
      '"tees":["sim"],"version":1}'
    const digest = createHash('sha256').update(text).digest()
    expect(Buffer.from(policyDigestOf(readAppraisalPolicy(base)))).toEqual(digest)
  })
})
