import { describe, expect, it } from 'vitest'
import { appraiseEvidence } from './appraisal/appraise.ts'
import { readAppraisalPolicy } from './appraisal/policy.ts'
import type { Collateral } from './collateral/collateral.ts'
import { TCB_STATUSES } from './collateral/tcb-status.ts'
import { CodedError } from './errors.ts'
import type { TdReport } from './tdx/td-report.ts'
import {
  CASES,
  collateralOf,
  HAS_VECTORS,
  rootOfCase,
  SKIPPED,
  type VectorCase,
} from './vectors.test.support.ts'
import type { QuoteClaims } from './verify/claims.ts'
import { verifyCollateral } from './verify/verified-collateral.ts'
import { verifyEvidence } from './verify-evidence.ts'

const judged = CASES.flatMap(one => {
  const collateral = collateralOf(one)
  return collateral === undefined ? [] : [{ ...one, collateral, root: rootOfCase(one) }]
})
type Judged = (typeof judged)[number]
const good = judged.filter(({ expected }) => expected.verdict === 'ok')
const bad = judged.filter(({ expected }) => expected.verdict === 'error')
const intel = good.filter(({ name }) => !name.includes('own-root'))

const judge = (
  { evidence, collateral, root, expected }: Judged,
  change: { evidence?: Uint8Array; collateral?: Partial<Collateral>; seconds?: number } = {},
) =>
  verifyEvidence({
    evidence: change.evidence ?? evidence,
    collateral: { ...collateral, ...change.collateral },
    roots: [root],
    at: new Date((change.seconds ?? expected.time) * 1000),
  })

const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'none'
}

/** A policy that names the workload, and what is unusual about it; debug is no part of that. */
function naming(claims: QuoteClaims, change: Readonly<Record<string, unknown>> = {}) {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const lax = { allowDynamicPlatform: true, allowCachedKeys: true, allowSmt: true }
  return {
    version: 1,
    tees: ['sgx', 'tdx'],
    platform: { tcbStatuses: TCB_STATUSES, ...lax },
    ...(claims.kind === 'td'
      ? { tds: [tdRule(claims.tdReport)] }
      : {
          enclaves: [
            {
              mrEnclave: hex(claims.report.mrEnclave),
              configId: hex(claims.report.configId),
              minConfigSvn: claims.report.configSvn,
              isvFamilyId: hex(claims.report.isvFamilyId),
              isvExtProdId: hex(claims.report.isvExtProdId),
            },
          ],
        }),
    ...change,
  }
}

function tdRule(report: TdReport) {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  return {
    mrTd: hex(report.mrTd),
    mrConfigId: hex(report.mrConfigId),
    mrOwner: hex(report.mrOwner),
    mrOwnerConfig: hex(report.mrOwnerConfig),
    ...(report.version === '1.5' ? { mrServiceTd: hex(report.mrServiceTd) } : {}),
  }
}

describe.skipIf(!HAS_VECTORS)(`verifyEvidence on quotes of real hardware${SKIPPED}`, () => {
  it('has cases to judge', () => {
    expect(good.length).toBeGreaterThanOrEqual(20)
    expect(bad.length).toBeGreaterThanOrEqual(3)
  })

  it.each(good)('$name: every status, advisory and date', one => {
    const { expected, name } = one
    const claims = judge(one)
    expect(claims.tee).toBe(name.slice(0, 3))
    expect(claims.tcbStatus).toBe(expected.status)
    expect(claims.sgxTcbStatus).toBe(expected.sgxTcbStatus)
    expect(claims.platformTcbStatus).toBe(expected.tdxTcbStatus ?? expected.sgxTcbStatus)
    expect(claims.qeTcbStatus).toBe(expected.qeTcbStatus)
    expect(claims.advisoryIds).toEqual(expected.advisoryIds)
    expect(claims.tcbDate).toEqual(new Date(expected.tcbDate))
    expect(claims.qeTcbDate).toEqual(new Date(expected.qeTcbDate))
    expect(claims.tcbEvaluationDataNumber).toBe(expected.tcbEvaluationDataNumber)
    expect(claims.qeTcbEvaluationDataNumber).toBe(expected.qeTcbEvaluationDataNumber)
    expect(claims.earliestExpiration).toEqual(new Date(expected.earliestExpiration))
    if (claims.kind === 'td') {
      expect(claims.tdxModule.tcbStatus).toBe(expected.tdxModuleTcbStatus)
      expect(claims.tdxModule.id).toBe(expected.tdxModuleIdentity)
      const moduleDate = expected.tdxModuleTcbDate
      expect(claims.tdxModule.tcbDate).toEqual(moduleDate && new Date(moduleDate))
    }
    const { pck } = claims
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
    expect(expected.pck).toMatchObject({
      ...{ ppid: hex(pck.ppid), fmspc: hex(pck.fmspc), pceid: hex(pck.pceid) },
      ...{ pcesvn: pck.pcesvn, sgxType: pck.sgxType },
    })
  })

  it.each(good)('$name: says what is behind exactly where a better level is published', one => {
    const claims = judge(one)
    for (const { lacks } of claims.behind) {
      expect(lacks.length).toBeGreaterThan(0)
      for (const { has, wanted } of lacks) expect(has).toBeLessThan(wanted)
    }
    const upToDate = claims.platformTcbStatus === 'UpToDate'
    const parts = claims.behind.map(({ part }) => part)
    if (upToDate) expect(parts).not.toContain('platform')
    if (claims.platformTcbStatus === 'OutOfDate') expect(parts).toContain('platform')
  })

  it.each(good)('$name: trusted by its measurement alone, and never while in debug', one => {
    const claims = judge(one)
    const reasons = (change: Readonly<Record<string, unknown>> = {}) => {
      const policy = readAppraisalPolicy(naming(claims, change))
      const appraisal = appraiseEvidence(claims, policy)
      return appraisal.verdict === 'trusted' ? [] : appraisal.reasons.map(({ code }) => code)
    }
    const debug = one.expected.flags?.['debug'] === true ? ['DEBUG'] : []
    expect(reasons()).toEqual(debug)
    expect(reasons({ tees: ['sim'] })).toEqual(['TEE', ...debug])
    expect(reasons({ enclaves: [], tds: [] })[0]).toBe('MEASUREMENT')
    expect(reasons({ platform: { tcbStatuses: [] } })).toContain('TCB_STATUS')
  })

  it.each(bad)('$name: refused', one => {
    const code = codeOf(() => judge(one))
    expect(code).not.toBe('none')
    // Intel's own tool says the same of its sample.
    if (one.name === 'tdx/own-root-intel-qvl-sample') expect(code).toBe('TDX_MODULE')
  })

  it.each(good)('$name: as good from collateral verified before, and dates judged again', one => {
    const { evidence, expected, root } = one
    const at = new Date(expected.time * 1000)
    const collateral = verifyCollateral({ collateral: one.collateral, roots: [root], at })
    expect(verifyEvidence({ evidence, collateral, roots: [root], at })).toEqual(judge(one))
    const again = (roots: (typeof root)[], seconds: number) =>
      codeOf(() => verifyEvidence({ evidence, collateral, roots, at: new Date(seconds * 1000) }))
    for (const { time } of expected.alsoAt ?? []) expect(again([root], time)).not.toBe('none')
    expect(again([], expected.time)).toBe('QE_VENDOR')
    const spki = root.spki.slice()
    spki[90] = (spki[90] ?? 0) ^ 1
    expect(again([{ ...root, spki }], expected.time)).toBe('UNTRUSTED_ROOT')
  })

  it.each(good)('$name: refused before and after validity', one => {
    for (const { time, verdict } of one.expected.alsoAt ?? []) {
      expect(verdict).toBe('error')
      expect(codeOf(() => judge(one, { seconds: time }))).not.toBe('none')
    }
  })

  it.each(good)('$name: collateral that lacks, or is of another, is refused', one => {
    const { collateral } = one
    const { tcbInfo } = collateral
    const refusals: [changed: Partial<Collateral>, codes: string][] = [
      [{ pckCrl: collateral.rootCaCrl }, 'CRL_ISSUER'],
      [{ rootCaCrl: collateral.pckCrl }, 'CRL_ISSUER'],
      [{ rootCaCrl: new Uint8Array() }, 'TRUNCATED'],
      [{ tcbInfo: `${tcbInfo} ` }, 'SIGNATURE'],
      [{ tcbInfo: tcbInfo.replace('"OutOfDate"', '"UpToDate" ') }, 'SIGNATURE'],
      [{ tcbInfoSignature: collateral.qeIdentitySignature }, 'SIGNATURE'],
      [{ tcbInfoIssuerChain: collateral.pckCrlIssuerChain }, 'SIGNER'],
      [
        { tcbInfo: collateral.qeIdentity, tcbInfoSignature: collateral.qeIdentitySignature },
        'VERSION',
      ],
    ]
    for (const [changed, code] of refusals) {
      expect(codeOf(() => judge(one, { collateral: changed }))).toBe(code)
    }
  })

  it('the collateral of any other case is refused, or is of the same platforms', () => {
    for (const one of intel) {
      for (const other of intel) {
        if (one === other) continue
        const code = codeOf(() =>
          judge(one, { collateral: other.collateral, seconds: other.expected.time }),
        )
        const sameFmspc = one.expected.pck?.['fmspc'] === other.expected.pck?.['fmspc']
        const sameTee = one.name.slice(0, 3) === other.name.slice(0, 3)
        if (!(sameFmspc && sameTee)) expect(code, `${one.name} ${other.name}`).not.toBe('none')
      }
    }
  })

  it('TCB info and identity of the other TEE are refused', () => {
    const tdx = intel.filter(({ name }) => name.startsWith('tdx'))
    const sgx = intel.filter(({ name }) => name.startsWith('sgx'))
    for (const [one, other] of [...tdx.map(a => [a, sgx[0]]), ...sgx.map(a => [a, tdx[0]])]) {
      if (one === undefined || other === undefined) throw new Error('cases of both')
      const { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain } = other.collateral
      const { qeIdentity, qeIdentitySignature, qeIdentityIssuerChain } = other.collateral
      for (const changed of [
        { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain },
        { qeIdentity, qeIdentitySignature, qeIdentityIssuerChain },
      ]) {
        expect(codeOf(() => judge(one, { collateral: changed }))).not.toBe('none')
      }
    }
  })

  const parsed: VectorCase[] = CASES.filter(({ expected }) => expected.verdict === 'parse-only')
  it.each(parsed)('$name: does not verify with the collateral of another', one => {
    const [tee] = one.name.split('/')
    const other = intel.find(({ name }) => name.startsWith(`${tee}`))
    if (other === undefined) throw new Error('a case of this TEE')
    expect(codeOf(() => judge({ ...other, evidence: one.evidence }))).not.toBe('none')
  })
})
