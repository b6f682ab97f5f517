import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { TcbStatus } from '../collateral/tcb-status.ts'
import {
  CASES,
  collateralOf,
  HAS_VECTORS,
  rootOfCase,
  SKIPPED,
  VECTORS,
} from '../vectors.test.support.ts'
import type { QuoteClaims, Verified } from '../verify/claims.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import { appraiseEvidence } from './appraise.ts'
import { readAppraisalPolicy } from './policy.ts'

/*
 * Intel's sample policies, written as docs/formats/appraisal-policy.md says, beside what Intel's own
 * rules make of them: Intel's QAL, qal_script.rego, in the few lines that these samples need.
 */
const FOLDER = `${VECTORS}/policies`
const DAY = 24 * 60 * 60

interface Reference {
  readonly accepted_tcb_status: readonly string[]
  readonly collateral_grace_period?: number
  readonly platform_grace_period?: number
  readonly min_eval_num?: number
  readonly rejected_advisory_ids?: readonly string[]
}

type Platform = Readonly<Record<string, unknown>>

/** What Intel's samples leave open, and it therefore allows. */
const OPEN = { allowDynamicPlatform: true, allowCachedKeys: true, allowSmt: true }
const SOFT = ['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded', 'OutOfDate'] as const
const SOFT_SGX = [...SOFT, 'ConfigurationAndSWHardeningNeeded', 'OutOfDateConfigurationNeeded']
const SOFT_TDX = [...SOFT_SGX, 'TDRelaunchAdvised', 'TDRelaunchAdvisedConfigurationNeeded']
const refusing = { ...OPEN, refusedAdvisories: ['INTEL-SA-00617'] }

/** Each of Intel's platform policies, as it is written here. */
const WRITTEN: Readonly<Record<string, Platform>> = {
  'alibabacloud_tdx_platform_policy_90C06F000000.json': {
    ...{ ...OPEN, tcbStatuses: ['UpToDate'], minTcbEvaluationDataNumber: 16 },
  },
  'sgx_platform_policy_collateral_grace_period.json': {
    ...{ ...OPEN, tcbStatuses: SOFT_SGX, collateralGraceDays: 90 },
  },
  'sgx_platform_policy_min_eval_num.json': {
    ...{ ...OPEN, tcbStatuses: SOFT_SGX, minTcbEvaluationDataNumber: 1 },
  },
  'sgx_platform_policy_platform_grace_period.json': {
    ...{ ...OPEN, tcbStatuses: SOFT_SGX, platformGraceDays: 90 },
  },
  'sgx_platform_policy_rejected_id.json': { ...refusing, tcbStatuses: ['UpToDate', 'OutOfDate'] },
  'sgx_platform_policy_strict.json': { ...OPEN, tcbStatuses: ['UpToDate'] },
  'tdx_platform_policy_collateral_grace_period.json': {
    // The quoting enclave's period is the shorter one.
    ...{ ...OPEN, tcbStatuses: SOFT_TDX, collateralGraceDays: 60 },
  },
  'tdx_platform_policy_min_eval_num.json': {
    ...{ ...OPEN, tcbStatuses: SOFT_TDX, minTcbEvaluationDataNumber: 1 },
  },
  'tdx_platform_policy_platform_grace_period.json': {
    ...{ ...OPEN, tcbStatuses: SOFT_TDX, platformGraceDays: 60 },
  },
  'tdx_platform_policy_rejected_id.json': {
    ...{ ...refusing, tcbStatuses: ['UpToDate', 'OutOfDate', 'TDRelaunchAdvised'] },
  },
  'tdx_platform_policy_strict.json': { ...OPEN, tcbStatuses: ['UpToDate'] },
}
const WORKLOADS = ['sgx_enclave_policy.json', 'tenant_td_policy.json']

/** Intel tells a status by its parts. */
function partsOf(status: TcbStatus): readonly string[] {
  switch (status) {
    case 'ConfigurationAndSWHardeningNeeded':
      return ['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded']
    case 'OutOfDateConfigurationNeeded':
      return ['OutOfDate', 'ConfigurationNeeded']
    case 'TDRelaunchAdvisedConfigurationNeeded':
      return ['TDRelaunchAdvised', 'ConfigurationNeeded']
    case 'ConfigurationNeeded':
    case 'SWHardeningNeeded':
      return ['UpToDate', status]
    default:
      return [status]
  }
}

/** What Intel's rules say of one part of evidence, at the instant it was verified at. */
interface Part {
  readonly statuses: readonly TcbStatus[]
  readonly date: Date
  readonly number: number
}

function intelAccepts(policy: Reference, { statuses, date, number }: Part, claims: QuoteClaims) {
  const now = claims.verifiedAt.getTime()
  const parts = statuses.flatMap(partsOf)
  const within = (from: Date, seconds: number) => from.getTime() + seconds * 1000 >= now
  const { collateral_grace_period: late, platform_grace_period: old, min_eval_num: least } = policy
  const isOld = parts.includes('OutOfDate') || parts.includes('Revoked')
  return (
    parts.every(part => policy.accepted_tcb_status.includes(part)) &&
    (late === undefined || within(claims.earliestExpiration, late)) &&
    (old === undefined || !isOld || within(date, old)) &&
    (least === undefined || number >= least) &&
    !claims.advisoryIds.some(id => policy.rejected_advisory_ids?.includes(id) === true)
  )
}

function referencesOf(file: string): readonly Reference[] {
  const { policy_array: parts } = JSON.parse(readFileSync(`${FOLDER}/${file}`, 'utf8'))
  return parts.map((part: { readonly reference: Reference }) => part.reference)
}

/** The samples' first part is of the platform, the second of the quoting enclave of TDX. */
function intelAcceptsAll(file: string, claims: QuoteClaims): boolean {
  const [platform, quoting] = referencesOf(file)
  if (platform === undefined) throw new Error(`${file} is empty`)
  const { tcbStatus, platformTcbStatus, qeTcbStatus } = claims
  const { tcbEvaluationDataNumber: number, qeTcbEvaluationDataNumber: qeNumber } = claims
  const part = { statuses: [tcbStatus], date: claims.tcbDate, number }
  if (quoting === undefined) {
    // One report of SGX tells of both, by the lower number.
    return intelAccepts(platform, { ...part, number: Math.min(number, qeNumber) }, claims)
  }
  const module = claims.kind === 'td' ? [claims.tdxModule.tcbStatus] : []
  const own = qeTcbStatus === 'UpToDate' ? [tcbStatus] : [platformTcbStatus, ...module]
  const qe = { statuses: [qeTcbStatus], date: claims.qeTcbDate, number: qeNumber }
  return (
    intelAccepts(platform, { ...part, statuses: own }, claims) && intelAccepts(quoting, qe, claims)
  )
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** A rule that the workload meets, so that the platform alone decides. */
function workloadOf(claims: QuoteClaims) {
  if (claims.kind === 'enclave') {
    const { mrEnclave, configId, configSvn, isvFamilyId, isvExtProdId } = claims.report
    const ids = { isvFamilyId: hex(isvFamilyId), isvExtProdId: hex(isvExtProdId) }
    const config = { configId: hex(configId), minConfigSvn: configSvn }
    return { enclaves: [{ mrEnclave: hex(mrEnclave), ...ids, ...config, allowDebug: true }] }
  }
  const { tdReport: td } = claims
  const owner = { mrOwner: hex(td.mrOwner), mrOwnerConfig: hex(td.mrOwnerConfig) }
  const service = td.version === '1.5' ? { mrServiceTd: hex(td.mrServiceTd) } : {}
  const lax = { allowDebug: true, allowSeptVe: true }
  const ids = { mrTd: hex(td.mrTd), mrConfigId: hex(td.mrConfigId) }
  return { tds: [{ ...ids, ...owner, ...service, ...lax }] }
}

function accepts(platform: Platform, claims: Verified<QuoteClaims>, change = {}): boolean {
  const workload = { ...workloadOf(claims), ...change }
  const policy = readAppraisalPolicy({ version: 1, tees: ['sgx', 'tdx'], platform, ...workload })
  return appraiseEvidence(claims, policy).verdict === 'trusted'
}

/** Every quote, in its time and when its collateral had expired. */
const claims = CASES.filter(({ expected }) => expected.verdict === 'ok').flatMap(one => {
  const collateral = collateralOf(one)
  if (collateral === undefined) return []
  const { evidence, expected } = one
  const roots = [rootOfCase(one)]
  return [0, 50, 75, 120].flatMap(days => {
    const at = new Date((expected.time + days * DAY) * 1000)
    const options = { evidence, collateral, roots, at, collateralGraceDays: 1000 }
    try {
      return [verifyEvidence(options)]
    } catch {
      // A certificate in it has expired, for which there is no grace.
      return []
    }
  })
})
const ofTee = (file: string) => {
  const tee = file.includes('tdx') || file.includes('td_') ? 'tdx' : 'sgx'
  return claims.filter(one => one.tee === tee)
}

describe.skipIf(!HAS_VECTORS)(`Intel's sample policies, written here${SKIPPED}`, () => {
  it('are all of them', () => {
    const files = readdirSync(FOLDER).filter(name => name.endsWith('.json'))
    expect(files.sort()).toEqual([...Object.keys(WRITTEN), ...WORKLOADS].sort())
    expect(claims.length).toBeGreaterThan(50)
  })

  it.each(Object.entries(WRITTEN))('%s accepts what Intel does, in date', (file, platform) => {
    const accepted = ofTee(file).map(one => {
      const own = accepts(platform, one)
      const intel = intelAcceptsAll(file, one)
      // Never more; and less only where a period of Intel's is longer, or is left open.
      if (own) expect(intel).toBe(true)
      const isLate = one.verifiedAt.getTime() > one.earliestExpiration.getTime()
      const differs = isLate || platform['platformGraceDays'] === 60
      if (intel && !differs) expect(own).toBe(true)
      return own
    })
    expect(new Set(accepted)).toEqual(new Set([true, false]))
  })

  it('sgx_enclave_policy.json: numbers turned round are bytes', () => {
    const [reference = {}] = referencesOf('sgx_enclave_policy.json')
    const { sgx_attributes: value, sgx_attributes_mask: mask } = reference as Record<string, string>
    expect([round(value), round(mask)]).toEqual([
      '05000000000000000300000000000000',
      'fdffffffffff00ff1bffffffffffffff',
    ])
    const verdicts = ofTee('sgx').map(one => {
      if (one.kind !== 'enclave') throw new Error('an enclave')
      const { flags, xfrm } = one.report.attributes
      const number = (xfrm << 64n) | flags
      const wanted = BigInt(`0x${value}`) & BigInt(`0x${mask}`)
      const intel = (number & BigInt(`0x${mask}`)) === wanted
      const [rule] = workloadOf(one).enclaves ?? []
      const attributes = { value: round(value), mask: round(mask) }
      const lax = { ...OPEN, tcbStatuses: SOFT_SGX, collateralGraceDays: 1000 }
      expect(accepts(lax, one, { enclaves: [{ ...rule, attributes }] })).toBe(intel)
      return intel
    })
    expect(new Set(verdicts)).toEqual(new Set([true, false]))
  })

  it('tenant_td_policy.json: numbers turned round are bytes', () => {
    const [reference = {}] = referencesOf('tenant_td_policy.json')
    const { tdx_attributes: value, tdx_attributes_mask: mask } = reference as Record<string, string>
    expect(round(value)).toBe('0000001000000000')
    const verdicts = ofTee('tdx').map(one => {
      if (one.kind !== 'td') throw new Error('a trust domain')
      const intel = one.tdReport.tdAttributes === BigInt(`0x${value}`)
      const [rule] = workloadOf(one).tds ?? []
      const tdAttributes = { value: round(value), mask: round(mask) }
      const lax = { ...OPEN, tcbStatuses: SOFT_TDX, collateralGraceDays: 1000 }
      expect(accepts(lax, one, { tds: [{ ...rule, tdAttributes }] })).toBe(intel)
      return intel
    })
    expect(new Set(verdicts)).toEqual(new Set([true, false]))
  })
})

/** The bytes of a number, least significant first. */
function round(digits = ''): string {
  return Buffer.from(digits, 'hex').reverse().toString('hex')
}
