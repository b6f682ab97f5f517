import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  type AppraisalPolicy,
  AppraisalPolicyError,
  appraiseEvidence,
  policyDigestOf,
  type ReasonCode,
} from './appraise.ts'
import { canonicalJson } from './canonical-json.ts'
import { PUBLISHED_TCB_STATUSES, TCB_STATUSES } from './collateral/tcb-status.ts'
import type { SimConditions } from './sim/conditions.ts'
import { createSimPlatform, withSimConditions } from './sim/platform.ts'
import type { SimEnclave } from './sim/quote.ts'
import { verifyEvidence } from './verify-evidence.ts'

const AT = new Date('2026-03-01T12:00:00Z')
const MR_ENCLAVE = new Uint8Array(32).fill(0xe1)
const MR_SIGNER = new Uint8Array(32).fill(0x51)
const OTHER = new Uint8Array(32).fill(0x0f)
const genuine = createSimPlatform({
  createdAt: AT,
  tcbDate: new Date('2025-08-13T00:00:00Z'),
  tcbEvaluationDataNumber: 19,
})

const evidenceOf = (conditions: Partial<SimConditions> = {}, change: Partial<SimEnclave> = {}) => {
  const platform = withSimConditions(genuine, conditions)
  return verifyEvidence({
    evidence: platform.quote({
      mrEnclave: MR_ENCLAVE,
      mrSigner: MR_SIGNER,
      isvProdId: 7,
      isvSvn: 3,
      debug: false,
      reportData: new Uint8Array(64),
      ...change,
    }),
    collateral: platform.collateral(AT),
    roots: [platform.trustRoot],
    at: AT,
  })
}

const policy: AppraisalPolicy = {
  tees: ['sim'],
  tcbStatuses: ['UpToDate'],
  allowDebugEnclave: false,
  mrEnclaves: [MR_ENCLAVE],
  mrSigners: [],
  mrTds: [],
  minTcbDate: new Date('2025-01-01T00:00:00Z'),
  minTcbEvaluationDataNumber: 17,
  rejectedAdvisoryIds: ['INTEL-SA-00289'],
}

const codesOf = (
  changed: Partial<AppraisalPolicy>,
  conditions: Partial<SimConditions> = {},
  enclave: Partial<SimEnclave> = {},
): readonly ReasonCode[] => {
  const appraisal = appraiseEvidence(evidenceOf(conditions, enclave), { ...policy, ...changed })
  switch (appraisal.verdict) {
    case 'trusted':
      return []
    case 'rejected':
      return appraisal.reasons.map(reason => reason.code)
  }
}

const signer = { mrSigner: MR_SIGNER, isvProdId: 7, minIsvSvn: 3 }
const bySigner = (...mrSigners: AppraisalPolicy['mrSigners']) => ({ mrEnclaves: [], mrSigners })

interface Case {
  readonly name: string
  readonly policy?: Partial<AppraisalPolicy>
  readonly platform?: Partial<SimConditions>
  readonly enclave?: Partial<SimEnclave>
  readonly reasons: readonly ReasonCode[]
}

const cases: readonly Case[] = [
  { name: 'all is well', reasons: [] },
  { name: 'no TEE allowed', policy: { tees: [] }, reasons: ['TEE'] },
  { name: 'hardware only', policy: { tees: ['sgx'] }, reasons: ['TEE'] },
  { name: 'either TEE', policy: { tees: ['sgx', 'sim'] }, reasons: [] },
  { name: 'no status allowed', policy: { tcbStatuses: [] }, reasons: ['TCB_STATUS'] },
  { name: 'no enclave allowed', policy: { mrEnclaves: [] }, reasons: ['MEASUREMENT'] },
  { name: 'another measurement', policy: { mrEnclaves: [OTHER] }, reasons: ['MEASUREMENT'] },
  { name: 'one of two measurements', policy: { mrEnclaves: [OTHER, MR_ENCLAVE] }, reasons: [] },
  { name: 'signer', policy: bySigner(signer), reasons: [] },
  {
    name: 'another signer',
    policy: bySigner({ ...signer, mrSigner: OTHER }),
    reasons: ['MEASUREMENT'],
  },
  {
    name: 'a signer is no measurement',
    policy: bySigner({ ...signer, mrSigner: MR_ENCLAVE }),
    reasons: ['MEASUREMENT'],
  },
  {
    name: 'a measurement is no signer',
    policy: { mrEnclaves: [MR_SIGNER] },
    reasons: ['MEASUREMENT'],
  },
  {
    name: 'another product of the signer',
    policy: bySigner({ ...signer, isvProdId: 8 }),
    reasons: ['ISV_PROD_ID'],
  },
  { name: 'an old version', policy: bySigner({ ...signer, minIsvSvn: 4 }), reasons: ['ISV_SVN'] },
  {
    name: 'rules of a signer are not mixed',
    policy: bySigner({ ...signer, minIsvSvn: 4 }, { ...signer, isvProdId: 8, minIsvSvn: 0 }),
    reasons: ['ISV_SVN'],
  },
  {
    name: 'one of two rules',
    policy: bySigner({ ...signer, isvProdId: 8 }, { ...signer, minIsvSvn: 0 }),
    reasons: [],
  },
  {
    name: 'measurement or signer',
    policy: { mrSigners: [{ ...signer, mrSigner: OTHER }] },
    reasons: [],
  },
  { name: 'debug', enclave: { debug: true }, reasons: ['DEBUG'] },
  {
    name: 'debug allowed',
    policy: { allowDebugEnclave: true },
    enclave: { debug: true },
    reasons: [],
  },
  {
    name: 'debug allowed does not demand it',
    policy: { allowDebugEnclave: true },
    reasons: [],
  },
  {
    name: 'TCB date on the day',
    policy: { minTcbDate: new Date('2025-08-13T00:00:00Z') },
    reasons: [],
  },
  {
    name: 'TCB date a moment too early',
    policy: { minTcbDate: new Date('2025-08-13T00:00:00.001Z') },
    reasons: ['TCB_DATE'],
  },
  { name: 'evaluation number', policy: { minTcbEvaluationDataNumber: 19 }, reasons: [] },
  {
    name: 'old evaluation number',
    policy: { minTcbEvaluationDataNumber: 20 },
    reasons: ['TCB_EVALUATION_DATA_NUMBER'],
  },
  { name: 'other advisory', platform: { advisoryIds: ['INTEL-SA-00334'] }, reasons: [] },
  {
    name: 'rejected advisory',
    platform: { advisoryIds: ['INTEL-SA-00334', 'INTEL-SA-00289'] },
    reasons: ['ADVISORY'],
  },
  {
    name: 'old quoting enclave',
    platform: { qeTcbStatus: 'OutOfDate' },
    reasons: ['TCB_STATUS'],
  },
  {
    name: 'nothing is right',
    policy: { tees: ['sgx'], mrEnclaves: [] },
    platform: {
      tcbStatus: 'Revoked',
      tcbDate: new Date('2019-01-01T00:00:00Z'),
      tcbEvaluationDataNumber: 5,
      advisoryIds: ['INTEL-SA-00289'],
    },
    enclave: { debug: true },
    reasons: [
      ...(['TEE', 'MEASUREMENT', 'DEBUG', 'TCB_STATUS', 'TCB_DATE'] as const),
      ...(['TCB_EVALUATION_DATA_NUMBER', 'ADVISORY'] as const),
    ],
  },
]

describe('appraiseEvidence', () => {
  it.each(cases)('$name: $reasons', ({ policy, platform, enclave, reasons }) => {
    expect(codesOf(policy ?? {}, platform, enclave)).toEqual(reasons)
  })

  it.each(PUBLISHED_TCB_STATUSES)('status %s passes only where it is listed', tcbStatus => {
    expect(codesOf({ tcbStatuses: [tcbStatus] }, { tcbStatus })).toEqual([])
    const others = TCB_STATUSES.filter(status => status !== tcbStatus)
    expect(codesOf({ tcbStatuses: others }, { tcbStatus })).toEqual(['TCB_STATUS'])
  })

  it('gives the evidence, and names the policy either way', () => {
    const evidence = evidenceOf()
    const policyDigest = policyDigestOf(policy)
    expect(appraiseEvidence(evidence, policy)).toEqual({
      verdict: 'trusted',
      evidence,
      policyDigest,
    })
    const strict = { ...policy, tees: [] }
    expect(appraiseEvidence(evidence, strict)).toEqual({
      verdict: 'rejected',
      reasons: [{ code: 'TEE', wanted: 'nothing is allowed', seen: 'sim' }],
      policyDigest: policyDigestOf(strict),
    })
  })

  it('says what was wanted and what was seen', () => {
    const appraisal = appraiseEvidence(evidenceOf({ tcbStatus: 'OutOfDate' }), {
      ...policy,
      tcbStatuses: ['UpToDate', 'SWHardeningNeeded'],
      ...bySigner({ ...signer, minIsvSvn: 9 }),
    })
    expect(appraisal).toMatchObject({
      reasons: [
        { code: 'ISV_SVN', wanted: '9 or higher', seen: '3' },
        { code: 'TCB_STATUS', wanted: 'UpToDate or SWHardeningNeeded', seen: 'OutOfDate' },
      ],
    })
  })

  it.each<[changed: Partial<AppraisalPolicy>, code: string]>([
    [{ mrEnclaves: [new Uint8Array(31)] }, 'MEASUREMENT'],
    [{ mrSigners: [{ ...signer, mrSigner: new Uint8Array() }] }, 'MEASUREMENT'],
    [{ mrTds: [new Uint8Array(32)] }, 'MEASUREMENT'],
    [{ mrSigners: [{ ...signer, minIsvSvn: Number.NaN }] }, 'NUMBER'],
    [{ mrSigners: [{ ...signer, isvProdId: 65536 }] }, 'NUMBER'],
    [{ minTcbEvaluationDataNumber: -1 }, 'NUMBER'],
    [{ minTcbEvaluationDataNumber: Number.NaN }, 'NUMBER'],
    [{ minTcbDate: new Date(Number.NaN) }, 'DATE'],
  ])('refuses a policy that is none: %o', (changed, code) => {
    const run = () => appraiseEvidence(evidenceOf(), { ...policy, ...changed })
    expect(run).toThrow(AppraisalPolicyError)
    expect(run).toThrow(expect.objectContaining({ code }))
  })
})

describe('policyDigestOf', () => {
  it('is SHA-256 of the canonical JSON', () => {
    const text =
      '{"allowDebugEnclave":false,' +
      '"minTcbDate":"2025-01-01T00:00:00.000Z","minTcbEvaluationDataNumber":17,' +
      `"mrEnclaves":["${'e1'.repeat(32)}"],` +
      `"mrSigners":[{"isvProdId":7,"minIsvSvn":3,"mrSigner":"${'51'.repeat(32)}"}],` +
      '"mrTds":[],"rejectedAdvisoryIds":["INTEL-SA-00289"],"tcbStatuses":["UpToDate"],"tees":["sim"],' +
      '"type":"cloister/appraisal-policy","version":2}'
    const digest = createHash('sha256').update(text).digest()
    expect(Buffer.from(policyDigestOf({ ...policy, mrSigners: [signer] }))).toEqual(digest)
  })

  it('does not depend on the order of members, and does on every value', () => {
    const reversed = Object.fromEntries(Object.entries(policy).reverse()) as unknown
    expect(policyDigestOf(reversed as AppraisalPolicy)).toEqual(policyDigestOf(policy))
    const changes: readonly Partial<AppraisalPolicy>[] = [
      { tees: [] },
      { tcbStatuses: [] },
      { allowDebugEnclave: true },
      { mrEnclaves: [] },
      { mrSigners: [signer] },
      { mrTds: [new Uint8Array(48)] },
      { minTcbDate: AT },
      { minTcbEvaluationDataNumber: 0 },
      { rejectedAdvisoryIds: [] },
    ]
    const digests = [{}, ...changes].map(change =>
      Buffer.from(policyDigestOf({ ...policy, ...change })).toString('hex'),
    )
    expect(new Set(digests).size).toBe(changes.length + 1)
  })
})

describe('canonicalJson', () => {
  it('sorts by UTF-16 code units, as in RFC 8785 section 3.2.3', () => {
    const value = {
      '€': 'Euro Sign',
      '\r': 'Carriage Return',
      '\u{fb33}': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\u{1f600}': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      ö: 'Latin Small Letter O With Diaeresis',
    }
    expect(Object.values(JSON.parse(canonicalJson(value)))[0]).toBe('One')
    expect([...canonicalJson(value).matchAll(/:"(\w+)/g)].map(match => match[1])).toEqual([
      ...['Carriage', 'One', 'Control', 'Latin', 'Euro', 'Emoji', 'Hebrew'],
    ])
    expect(canonicalJson([1, 0.1, true, 'a"\n', [], {}])).toBe('[1,0.1,true,"a\\"\\n",[],{}]')
  })
})
