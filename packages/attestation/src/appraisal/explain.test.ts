import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PartTcbStatus, PublishedTcbStatus } from '../collateral/tcb-status.ts'
import { SNP_PLATFORM, SNP_POLICY } from '../sev-snp/report.ts'
import { encodeSnpTcb } from '../sev-snp/tcb.ts'
import { createSimPlatform } from '../sim/platform.ts'
import { SIM_TDX } from '../sim/td.ts'
import { TD_ATTRIBUTES } from '../tdx/td-report.ts'
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
  milan,
  rules,
  signer,
  snpOf,
  tdOf,
} from './appraisal-cases.test.support.ts'
import { appraiseEvidence } from './appraise.ts'
import { PUBLIC_TEST_SIGNERS } from './enclave-rules.ts'
import { explainAppraisal } from './explain.ts'
import { bytes, lists, policies, some } from './policies.test.support.ts'
import { type AppraisalPolicy, readAppraisalPolicy } from './policy.ts'
import { editedPolicy } from './policy-edit.test.support.ts'
import type { Reason, ReasonCode } from './reasons.ts'

describe('explainAppraisal', () => {
  it('says what was wanted, what was seen, and what would pass', () => {
    const policy = readAppraisalPolicy({ ...base, enclaves: [{ ...signer, minIsvSvn: 9 }] })
    const text = explainAppraisal(appraiseEvidence(evidenceOf({ tcbStatus: 'OutOfDate' }), policy))
    expect(text).toContain('rejected for 2 reasons')
    expect(text).toContain('wanted  9 or higher\n    seen    3\n')
    expect(text).toContain('change  `enclaves[0].minIsvSvn: 3`')
    expect(text).toContain('add OutOfDate to `platform.tcbStatuses`, or update the platform (')
    expect(text).toContain(') to be UpToDate')
  })

  it('tells to relaunch a trust domain where its module was updated already', () => {
    const own = createSimPlatform({ createdAt: AT })
    const teeTcbSvn2 = Uint8Array.of(SIM_TDX.moduleSvn + 1, SIM_TDX.moduleMajor, SIM_TDX.loaderSvn)
    const claims = verifyEvidence({
      evidence: own.quoteTd({ teeTcbSvn2: Uint8Array.of(...teeTcbSvn2, ...new Uint8Array(13)) }),
      collateral: own.tdxCollateral(AT, { moduleTcbStatus: 'OutOfDate' }),
      ...{ roots: [own.trustRoot], at: AT },
    })
    expect(claims.tcbStatus).toBe('TDRelaunchAdvised')
    const text = explainAppraisal(appraiseEvidence(claims, readAppraisalPolicy(base)))
    expect(text).toContain(', or relaunch the trust domain, as the TDX module was updated under it')
    expect(text).not.toContain('update the TDX module')
  })

  it('names changes that do pass', () => {
    const evidence = evidenceOf({}, { debug: true })
    expect(codesOf(evidence, rules({ mrEnclave: MR_ENCLAVE }))).toEqual(['DEBUG'])
    expect(codesOf(evidence, rules({ mrEnclave: MR_ENCLAVE, allowDebug: true }))).toEqual([])
  })
})

/** Reasons that another policy would not help against, or should not. */
const NO_EDIT: readonly ReasonCode[] = ['VMPL', 'ID_KEY', 'AUTHOR_KEY', 'COLLATERAL_EXPIRED']

function reasonsOf(evidence: VerifiedEvidence, policy: AppraisalPolicy): readonly Reason[] {
  const appraisal = appraiseEvidence(evidence, policy)
  return appraisal.verdict === 'trusted' ? [] : appraisal.reasons
}

/**
 * What `explain` promises: its changes make the policy accept the evidence, each of them is needed for
 * its reason, and a reason without one is of a kind that no policy should mend.
 */
function requireSmallestChange(evidence: VerifiedEvidence, policy: AppraisalPolicy): void {
  const reasons = reasonsOf(evidence, policy)
  const lasting = reasons.filter(({ edits }) => edits.length === 0).map(({ code }) => code)
  expect(lasting.filter(code => !NO_EDIT.includes(code))).toEqual([])
  const edited = editedPolicy(
    policy,
    reasons.flatMap(({ edits }) => edits),
  )
  expect(reasonsOf(evidence, edited).map(({ code }) => code)).toEqual(lasting)
  // Where a rule or a platform is added, the changes within it stand or fall with it.
  const added = reasons.filter(({ code }) => code === 'PLATFORM' || code === 'MEASUREMENT')
  const roots = added.flatMap(({ edits }) => edits.map(({ path }) => path))
  const within = ({ edits }: Reason) =>
    edits.some(({ path }) => roots.some(root => path.startsWith(root)))
  for (const left of new Set(reasons.filter(one => !within(one)).map(({ code }) => code))) {
    const others = reasons.filter(({ code }) => code !== left).flatMap(({ edits }) => edits)
    const codes = reasonsOf(evidence, editedPolicy(policy, others)).map(({ code }) => code)
    expect(codes).toContain(left)
  }
}

describe('the change that explain names', () => {
  it.each(CASES)('$name: passes, and nothing smaller does', one => {
    requireSmallestChange(one.evidence(), readAppraisalPolicy({ ...base, ...one.policy }))
  })

  it('is told in YAML that cannot be read as a number', () => {
    const digits = new Uint8Array(32).fill(0x12)
    const seen = evidenceOf({}, { mrEnclave: digits })
    const text = explainAppraisal(appraiseEvidence(seen, readAppraisalPolicy(base)))
    expect(text).toContain(`\`enclaves[1]: { mrEnclave: "${'12'.repeat(32)}" }\``)
  })

  const conditions = fc.record({
    tcbStatus: some<PublishedTcbStatus>(
      ...(['UpToDate', 'OutOfDate', 'OutOfDateConfigurationNeeded', 'Revoked'] as const),
    ),
    qeTcbStatus: some<PartTcbStatus>('UpToDate', 'OutOfDate'),
    advisoryIds: lists('INTEL-SA-1', 'INTEL-SA-2', 'INTEL-SA-3'),
    tcbDate: some('2012-01-01', '2024-11-11', '2026-02-27').map(day => new Date(day)),
    tcbEvaluationDataNumber: some(17, 19),
  })
  const enclaves = fc
    .record({
      conditions,
      debug: fc.boolean(),
      late: some(0, 31, 99),
      flags: fc.boolean(),
      report: fc.record({
        ...{ configId: bytes(64), configSvn: some(0, 2), miscSelect: some(0, 0x0a0a0a0a) },
        ...{ isvFamilyId: bytes(16), isvExtProdId: bytes(16) },
        mrSigner: some(signer.mrSigner, PUBLIC_TEST_SIGNERS[0] ?? '').map(
          hex => new Uint8Array(Buffer.from(hex, 'hex')),
        ),
      }),
    })
    .map(({ conditions: given, debug, late, flags, report }) => {
      const claims = evidenceOf(given, { debug }, late)
      const configuration = { dynamicPlatform: flags, cachedKeys: flags, smtEnabled: !flags }
      return {
        ...claims,
        report: { ...claims.report, ...report },
        pck: { ...claims.pck, configuration },
      } as VerifiedEvidence
    })
  const tds = fc
    .record({
      tdAttributes: some(0n, 1n, TD_ATTRIBUTES.septVeDisable, 1n << 40n, 0x13n << 56n),
      xfam: some(3n, 0xe7n),
      mrSeam: some(0, 0x5e, 9).map(byte => new Uint8Array(48).fill(byte)),
      ...{ mrConfigId: bytes(48), mrOwner: bytes(48), mrServiceTd: bytes(48) },
    })
    .map(tdOf)
  const guests = fc
    .record({
      guest: fc.record({
        policy: some(0n, SNP_POLICY.debug, SNP_POLICY.smt | SNP_POLICY.migrateMa).map(
          policy => policy | SNP_POLICY.reserved1,
        ),
        platformInfo: some(0n, SNP_PLATFORM.eccEnabled | SNP_PLATFORM.tsmeEnabled, 0x2fn),
        vmpl: some(0, 1, 3, 0xffffffff),
        guestSvn: some(0, 4),
        ...{ hostData: bytes(32), familyId: bytes(16), imageId: bytes(16) },
        ...{ idKeyDigest: bytes(48), authorKeyDigest: bytes(48) },
        launchTcb: some(3, 4).map(bootLoader =>
          encodeSnpTcb('Milan', { bootLoader, tee: 0, snp: 24, microcode: 219 }),
        ),
        chipId: some(milan.defaults.chipId, new Uint8Array(64)),
      }),
      unchecked: fc.boolean(),
    })
    .map(({ guest, unchecked }) => snpOf(guest, unchecked))

  it.each([
    ['enclaves', enclaves],
    ['trust domains', tds],
    ['guests', guests],
  ] as const)('passes for any policy and any of %s', (_what, evidence) => {
    fc.assert(
      fc.property(evidence as fc.Arbitrary<VerifiedEvidence>, policies, (one, policy) =>
        requireSmallestChange(one, readAppraisalPolicy(policy)),
      ),
      { numRuns: process.env['SLOW'] === '1' ? 5000 : 100 },
    )
  })

  it('is none where the two kinds of grace exclude each other', () => {
    const policy = readAppraisalPolicy({
      ...base,
      platform: { tcbStatuses: ['UpToDate'], platformGraceDays: 5 },
    })
    const late = evidenceOf({}, {}, 31)
    expect(late.earliestExpiration).toEqual(new Date(AT.getTime() + 30 * DAY))
    expect(reasonsOf(late, policy)).toMatchObject([
      { code: 'COLLATERAL_EXPIRED', change: 'fetch new collateral', edits: [] },
    ])
  })
})
