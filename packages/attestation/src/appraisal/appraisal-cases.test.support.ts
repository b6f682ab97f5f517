import { REVOCATION_UNCHECKED } from '../sev-snp/collateral.ts'
import { SNP_HOST_REQUESTED, SNP_PLATFORM, SNP_POLICY, type SnpReport } from '../sev-snp/report.ts'
import { encodeSnpTcb } from '../sev-snp/tcb.ts'
import type { SgxReportBody } from '../sgx/report-body.ts'
import type { SimConditions } from '../sim/conditions.ts'
import { createSimPlatform, withSimConditions } from '../sim/platform.ts'
import type { SimEnclave } from '../sim/quote.ts'
import { createSimSnpPlatform } from '../sim/snp-platform.ts'
import { TD_ATTRIBUTES, type TdReport15 } from '../tdx/td-report.ts'
import type { EnclaveClaims, TdClaims, Verified, VerifiedEvidence } from '../verify/claims.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import type { PckExtension } from '../x509/pck.ts'
import { appraiseEvidence } from './appraise.ts'
import { PUBLIC_TEST_SIGNERS } from './enclave-rules.ts'
import { readAppraisalPolicy } from './policy.ts'
import type { ReasonCode } from './reasons.ts'

/** When all evidence is judged. */
export const AT = new Date('2026-03-01T12:00:00Z')
/** Milliseconds. */
export const DAY = 24 * 60 * 60 * 1000
/** Of the enclave in order. */
export const MR_ENCLAVE = 'e1'.repeat(32)
const MR_SIGNER = '51'.repeat(32)
const OTHER = '0f'.repeat(32)
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'))

const genuine = createSimPlatform({
  createdAt: AT,
  tcbDate: new Date('2025-08-13T00:00:00Z'),
  tcbEvaluationDataNumber: 19,
})

/** Claims of an enclave on the simulated platform. */
export const evidenceOf = (
  conditions: Partial<SimConditions> = {},
  change: Partial<SimEnclave> = {},
  late = 0,
): Verified<EnclaveClaims> => {
  const platform = withSimConditions(genuine, conditions)
  const claims = verifyEvidence({
    evidence: platform.quote({
      mrEnclave: bytes(MR_ENCLAVE),
      mrSigner: bytes(MR_SIGNER),
      isvProdId: 7,
      isvSvn: 3,
      debug: false,
      reportData: new Uint8Array(64),
      ...change,
    }),
    collateral: platform.collateral(AT),
    roots: [platform.trustRoot],
    at: new Date(AT.getTime() + late * DAY),
    collateralGraceDays: 100,
  })
  if (claims.kind !== 'enclave') throw new Error('an enclave')
  return claims
}

const platform = {
  tcbStatuses: ['UpToDate'],
  minTcbDate: '2025-01-01',
  minTcbEvaluationDataNumber: 17,
  refusedAdvisories: ['INTEL-SA-00289'],
}
/** A policy that the evidence in order meets. */
export const base = { version: 1, tees: ['sim'], platform, enclaves: [{ mrEnclave: MR_ENCLAVE }] }
/** Members of a policy. */
export type Change = Readonly<Record<string, unknown>>

/** The codes of the reasons that a policy has against evidence. */
export const codesOf = (evidence: VerifiedEvidence, policy: Change): readonly ReasonCode[] => {
  const appraisal = appraiseEvidence(evidence, readAppraisalPolicy({ ...base, ...policy }))
  return appraisal.verdict === 'trusted' ? [] : appraisal.reasons.map(reason => reason.code)
}

/** Evidence, a policy, and the reasons that the policy has against it. */
export interface Case {
  readonly name: string
  readonly policy?: Change
  readonly evidence: () => VerifiedEvidence
  readonly reasons: readonly ReasonCode[]
}

const enclave = (
  name: string,
  reasons: readonly ReasonCode[],
  policy: Change = {},
  evidence = () => evidenceOf(),
): Case => ({ name, policy, evidence, reasons })

/** The signer of the enclave in order, as a rule names one. */
export const signer = { mrSigner: MR_SIGNER, isvProdId: 7, minIsvSvn: 3 }
/** Enclaves that a policy allows. */
export const rules = (...enclaves: readonly Change[]) => ({ enclaves })
/** What a policy demands of the platform otherwise. */
export const onPlatform = (change: Change) => ({ platform: { ...platform, ...change } })
/** Claims with parts of the report changed: what the simulated processor does not make. */
const reporting = (change: Partial<SgxReportBody>) => () => {
  const claims = evidenceOf()
  return { ...claims, report: { ...claims.report, ...change } }
}
const certified = (change: Partial<PckExtension>) => () => {
  const claims = evidenceOf()
  return { ...claims, pck: { ...claims.pck, ...change } }
}

const ENCLAVES: readonly Case[] = [
  enclave('all is well', []),
  enclave('no TEE allowed', ['TEE'], { tees: [] }),
  enclave('hardware only', ['TEE'], { tees: ['sgx'] }),
  enclave('either TEE', [], { tees: ['sgx', 'sim'] }),
  enclave('no platform named', ['PLATFORM'], { platform: undefined }),
  enclave('no status allowed', ['TCB_STATUS'], onPlatform({ tcbStatuses: [] })),
  enclave('no enclave named', ['MEASUREMENT'], { enclaves: undefined }),
  enclave('no enclave allowed', ['MEASUREMENT'], { enclaves: [] }),
  enclave('another measurement', ['MEASUREMENT'], rules({ mrEnclave: OTHER })),
  enclave('one of two', [], rules({ mrEnclave: OTHER }, { mrEnclave: MR_ENCLAVE })),
  enclave('upper case', [], rules({ mrEnclave: MR_ENCLAVE.toUpperCase() })),
  enclave('signer', [], rules(signer)),
  enclave('another signer', ['MEASUREMENT'], rules({ ...signer, mrSigner: OTHER })),
  enclave('a signer is no measurement', ['MEASUREMENT'], rules({ mrEnclave: MR_SIGNER })),
  enclave('measurement and signer', [], rules({ ...signer, mrEnclave: MR_ENCLAVE })),
  enclave(
    'measurement of another signer',
    ['MEASUREMENT'],
    rules({ mrEnclave: MR_ENCLAVE, mrSigner: OTHER }),
  ),
  enclave('another product', ['ISV_PROD_ID'], rules({ ...signer, isvProdId: 8 })),
  enclave('an old version', ['ISV_SVN'], rules({ ...signer, minIsvSvn: 4 })),
  enclave(
    'rules are not mixed',
    ['ISV_SVN'],
    rules({ ...signer, minIsvSvn: 4 }, { ...signer, isvProdId: 8, minIsvSvn: 9 }),
  ),
  enclave('debug', ['DEBUG'], {}, () => evidenceOf({}, { debug: true })),
  enclave('debug allowed', [], rules({ mrEnclave: MR_ENCLAVE, allowDebug: true }), () =>
    evidenceOf({}, { debug: true }),
  ),
  enclave(
    'a signer whose key is published',
    ['PUBLIC_TEST_SIGNER'],
    rules({ ...signer, mrSigner: PUBLIC_TEST_SIGNERS[0] }),
    () => evidenceOf({}, { mrSigner: bytes(PUBLIC_TEST_SIGNERS[0] ?? '') }),
  ),
  enclave(
    'such a signer allowed',
    [],
    rules({ ...signer, mrSigner: PUBLIC_TEST_SIGNERS[0], allowPublicTestSigner: true }),
    () => evidenceOf({}, { mrSigner: bytes(PUBLIC_TEST_SIGNERS[0] ?? '') }),
  ),
  enclave(
    'attributes under a mask',
    ['ATTRIBUTES'],
    rules({
      mrEnclave: MR_ENCLAVE,
      attributes: { value: '05'.padEnd(32, '0'), mask: 'ff'.padEnd(32, 'f') },
    }),
  ),
  enclave(
    'attributes outside the mask',
    [],
    rules({
      mrEnclave: MR_ENCLAVE,
      attributes: { value: '05'.padEnd(32, '0'), mask: 'ff'.padEnd(32, '0') },
    }),
  ),
  enclave(
    'MISCSELECT',
    ['MISC_SELECT'],
    rules({ mrEnclave: MR_ENCLAVE, miscSelect: { value: '01000000', mask: 'ffffffff' } }),
  ),
  enclave('CONFIGID', ['CONFIG_ID'], {}, reporting({ configId: new Uint8Array(64).fill(1) })),
  enclave(
    'CONFIGID named',
    [],
    rules({ mrEnclave: MR_ENCLAVE, configId: '01'.repeat(64) }),
    reporting({ configId: new Uint8Array(64).fill(1) }),
  ),
  enclave('CONFIGSVN', ['CONFIG_SVN'], {}, reporting({ configSvn: 2 })),
  enclave(
    'an old CONFIGSVN',
    ['CONFIG_SVN'],
    rules({ mrEnclave: MR_ENCLAVE, minConfigSvn: 3 }),
    reporting({ configSvn: 2 }),
  ),
  enclave(
    'KSS ids',
    ['ISV_FAMILY_ID', 'ISV_EXT_PROD_ID'],
    {},
    reporting({
      isvFamilyId: new Uint8Array(16).fill(1),
      isvExtProdId: new Uint8Array(16).fill(2),
    }),
  ),
  enclave('TCB date on the day', [], onPlatform({ minTcbDate: '2025-08-13' })),
  enclave(
    'TCB date a moment too early',
    ['TCB_DATE'],
    onPlatform({ minTcbDate: '2025-08-13T00:00:00.001Z' }),
  ),
  enclave('evaluation number', [], onPlatform({ minTcbEvaluationDataNumber: 19 })),
  enclave(
    'old evaluation number',
    ['TCB_EVALUATION_DATA_NUMBER'],
    onPlatform({ minTcbEvaluationDataNumber: 20 }),
  ),
  enclave('other advisory', [], {}, () => evidenceOf({ advisoryIds: ['INTEL-SA-00334'] })),
  enclave('refused advisory', ['ADVISORY'], {}, () =>
    evidenceOf({ advisoryIds: ['INTEL-SA-00334', 'INTEL-SA-00289'] }),
  ),
  enclave(
    'an advisory that is not accepted',
    ['ADVISORY'],
    onPlatform({ acceptedAdvisories: ['INTEL-SA-00615'] }),
    () => evidenceOf({ advisoryIds: ['INTEL-SA-00334', 'INTEL-SA-00615'] }),
  ),
  enclave('old quoting enclave', ['TCB_STATUS'], {}, () =>
    evidenceOf({ qeTcbStatus: 'OutOfDate' }),
  ),
  enclave(
    'out of date within the grace period',
    [],
    onPlatform({ tcbStatuses: ['UpToDate', 'OutOfDate'], platformGraceDays: 201 }),
    () => evidenceOf({ tcbStatus: 'OutOfDate' }),
  ),
  enclave(
    'out of date for too long',
    ['TCB_STATUS'],
    onPlatform({ tcbStatuses: ['UpToDate', 'OutOfDate'], platformGraceDays: 200 }),
    () => evidenceOf({ tcbStatus: 'OutOfDate' }),
  ),
  enclave(
    'a fresh level hides no old quoting enclave',
    ['TCB_STATUS', 'TCB_DATE'],
    onPlatform({ tcbStatuses: ['OutOfDate'], platformGraceDays: 201 }),
    () => ({
      ...evidenceOf({ qeTcbStatus: 'OutOfDate' }),
      qeTcbDate: new Date('2024-11-01T00:00:00Z'),
    }),
  ),
  enclave('a quoting enclave that is old and up to date', [], {}, () => ({
    ...evidenceOf(),
    qeTcbDate: new Date('2018-01-01T00:00:00Z'),
  })),
  enclave('expired collateral', ['COLLATERAL_EXPIRED'], {}, () => evidenceOf({}, {}, 31)),
  enclave('expired within the grace period', [], onPlatform({ collateralGraceDays: 2 }), () =>
    evidenceOf({}, {}, 32),
  ),
  enclave(
    'expired for longer',
    ['COLLATERAL_EXPIRED'],
    onPlatform({ collateralGraceDays: 2 }),
    () => evidenceOf({}, {}, 33),
  ),
  enclave(
    'a platform’s configuration',
    ['DYNAMIC_PLATFORM', 'CACHED_KEYS', 'SMT'],
    {},
    certified({ configuration: { dynamicPlatform: true, cachedKeys: true, smtEnabled: true } }),
  ),
  enclave(
    'a platform’s configuration allowed',
    [],
    onPlatform({ allowDynamicPlatform: true, allowCachedKeys: true, allowSmt: true }),
    certified({ configuration: { dynamicPlatform: true, cachedKeys: true, smtEnabled: true } }),
  ),
  enclave(
    'memory without replay protection',
    ['SGX_TYPE'],
    onPlatform({ sgxTypes: ['standard', 'scalableWithIntegrity'] }),
    certified({ sgxType: 1 }),
  ),
  enclave(
    'memory as the policy wants it',
    [],
    onPlatform({ sgxTypes: ['scalable'] }),
    certified({ sgxType: 1 }),
  ),
  enclave(
    'other platforms',
    ['PPID', 'PLATFORM_INSTANCE_ID'],
    onPlatform({ ppids: ['00'.repeat(16)], platformInstanceIds: ['00'.repeat(16)] }),
  ),
  enclave(
    'this platform',
    [],
    onPlatform({ ppids: ['ab'.repeat(16)], platformInstanceIds: ['cd'.repeat(16)] }),
    certified({ ppid: bytes('ab'.repeat(16)), platformInstanceId: bytes('cd'.repeat(16)) }),
  ),
  enclave(
    'nothing is right',
    [
      ...(['TEE', 'MEASUREMENT', 'TCB_STATUS', 'TCB_DATE'] as const),
      ...(['TCB_EVALUATION_DATA_NUMBER', 'ADVISORY'] as const),
    ],
    { tees: ['sgx'], enclaves: [] },
    () =>
      evidenceOf({
        tcbStatus: 'Revoked',
        tcbDate: new Date('2019-01-01T00:00:00Z'),
        tcbEvaluationDataNumber: 5,
        advisoryIds: ['INTEL-SA-00289'],
      }),
  ),
]

/** Of the trust domain in order. */
export const MR_TD = 'd0'.repeat(48)
const TD: TdReport15 = {
  version: '1.5',
  teeTcbSvn: new Uint8Array(16),
  mrSeam: bytes('5e'.repeat(48)),
  mrSignerSeam: new Uint8Array(48),
  seamAttributes: new Uint8Array(8),
  tdAttributes: TD_ATTRIBUTES.septVeDisable,
  xfam: 3n,
  mrTd: bytes(MR_TD),
  mrConfigId: new Uint8Array(48),
  mrOwner: new Uint8Array(48),
  mrOwnerConfig: new Uint8Array(48),
  rtmrs: [0, 1, 2, 3].map(index =>
    new Uint8Array(48).fill(index),
  ) as unknown as TdReport15['rtmrs'],
  reportData: new Uint8Array(64),
  teeTcbSvn2: new Uint8Array(16),
  mrServiceTd: new Uint8Array(48),
}

/** Claims of a trust domain on the simulated platform. */
export const tdOf = (change: Partial<TdReport15> = {}): VerifiedEvidence => {
  const { report: _report, kind: _kind, ...common } = evidenceOf()
  const claims: TdClaims = {
    ...common,
    kind: 'td',
    tdReport: { ...TD, ...change },
    tdxModule: { tcbStatus: 'UpToDate' },
  }
  return claims as Verified<TdClaims>
}

const td = (
  name: string,
  reasons: readonly ReasonCode[],
  change: Partial<TdReport15> = {},
  rule: Change = {},
): Case => ({
  name: `TD: ${name}`,
  policy: { tds: [{ mrTd: MR_TD, ...rule }] },
  evidence: () => tdOf(change),
  reasons,
})
const some = new Uint8Array(48).fill(9)
const SOME = '09'.repeat(48)
/** A bit of TDATTRIBUTES without a meaning. */
const RESERVED = 1n << 40n

const TDS: readonly Case[] = [
  td('all is well', []),
  td('another', ['MEASUREMENT'], { mrTd: some }),
  td('debug', ['DEBUG'], { tdAttributes: TD_ATTRIBUTES.septVeDisable | 1n }),
  td('debug allowed', [], { tdAttributes: TD_ATTRIBUTES.septVeDisable | 1n }, { allowDebug: true }),
  td('RTMRs', [], {}, { rtmr0: '00'.repeat(48), rtmr3: '03'.repeat(48) }),
  td('other RTMRs', ['RTMR', 'RTMR'], {}, { rtmr1: SOME, rtmr2: SOME }),
  td('module', [], {}, { mrSeams: [SOME, '5e'.repeat(48)] }),
  td('another module', ['MR_SEAM'], {}, { mrSeams: [SOME] }),
  td('SEPT_VE', ['SEPT_VE'], { tdAttributes: 0n }),
  td('SEPT_VE allowed', [], { tdAttributes: 0n }, { allowSeptVe: true }),
  td('attributes of known meaning', [], {
    tdAttributes: Object.values(TD_ATTRIBUTES).reduce((all, bit) => all | bit, 0n) & ~1n,
  }),
  td('reserved attributes', ['TD_ATTRIBUTES'], {
    tdAttributes: TD_ATTRIBUTES.septVeDisable | RESERVED,
  }),
  td(
    'reserved attributes, named',
    [],
    { tdAttributes: TD_ATTRIBUTES.septVeDisable | RESERVED },
    { tdAttributes: { value: '0000001000010000', mask: '000000ff00ffff00' } },
  ),
  td(
    'reserved attributes, named as others',
    ['TD_ATTRIBUTES'],
    { tdAttributes: TD_ATTRIBUTES.septVeDisable | RESERVED },
    { tdAttributes: { value: '0000001000000000', mask: '000000ff00ffff00' } },
  ),
  td(
    'attributes and XFAM',
    ['TD_ATTRIBUTES', 'XFAM'],
    {},
    {
      tdAttributes: { value: '00'.repeat(8), mask: 'ff'.repeat(8) },
      xfam: { value: 'e7'.padEnd(16, '0'), mask: 'ff'.repeat(8) },
    },
  ),
  td(
    'what the owner and others configured',
    ['MR_CONFIG_ID', 'MR_OWNER', 'MR_OWNER_CONFIG', 'SERVICE_TD'],
    { mrConfigId: some, mrOwner: some, mrOwnerConfig: some, mrServiceTd: some },
  ),
  td(
    'the same, named',
    [],
    { mrConfigId: some, mrOwner: some, mrOwnerConfig: some, mrServiceTd: some },
    { mrConfigId: SOME, mrOwner: SOME, mrOwnerConfig: SOME, mrServiceTd: SOME },
  ),
]

/** The simulated SEV-SNP platform. */
export const milan = createSimSnpPlatform({ createdAt: AT })
/** Claims of a guest on the simulated platform. */
export const snpOf = (guest: Partial<Omit<SnpReport, 'signature'>> = {}, unchecked = false) =>
  verifyEvidence({
    evidence: milan.report({ platformInfo: SNP_PLATFORM.aliasCheckComplete, ...guest }),
    collateral: {
      ...milan.collateral(AT),
      ...(unchecked ? { crl: REVOCATION_UNCHECKED } : {}),
    },
    roots: [milan.trustRoot],
    at: AT,
  })

const MEASURED = '00'.repeat(48)
const CHIP = Buffer.from(milan.defaults.chipId).toString('hex')
/** What the simulated SEV-SNP platform has. */
export const minTcb = { Milan: { bootLoader: 4, tee: 0, snp: 24, microcode: 219 } }
const snp = (
  name: string,
  reasons: readonly ReasonCode[],
  guest: Partial<Omit<SnpReport, 'signature'>> = {},
  {
    rule = {},
    onIt = {},
    unchecked = false,
  }: { rule?: Change; onIt?: Change; unchecked?: boolean } = {},
): Case => ({
  name: `SNP: ${name}`,
  policy: {
    platform: undefined,
    snpPlatform: { minTcb, ...onIt },
    guests: [{ measurement: MEASURED, ...rule }],
  },
  evidence: () => snpOf(guest, unchecked),
  reasons,
})
const bits = SNP_POLICY.reserved1

const GUESTS: readonly Case[] = [
  snp('all is well', []),
  {
    name: 'SNP: no platform named',
    policy: { guests: [{ measurement: MEASURED }] },
    evidence: () => snpOf(),
    reasons: ['PLATFORM'],
  },
  snp('another', ['MEASUREMENT'], { measurement: some }),
  snp('debug', ['DEBUG'], { policy: bits | SNP_POLICY.debug }),
  snp('debug allowed', [], { policy: bits | SNP_POLICY.debug }, { rule: { allowDebug: true } }),
  snp('migration agent', ['MIGRATION_AGENT'], { policy: bits | SNP_POLICY.migrateMa }),
  snp('any sockets', ['SINGLE_SOCKET'], {}, { rule: { demandSingleSocket: true } }),
  snp('SMT', ['GUEST_SMT'], { policy: bits | SNP_POLICY.smt }, { rule: { refuseSmt: true } }),
  snp('VMPL 1', ['VMPL'], { vmpl: 1 }),
  snp('VMPL 1 allowed', [], { vmpl: 1 }, { rule: { maxVmpl: 1 } }),
  snp('asked for by the host', ['VMPL'], { vmpl: SNP_HOST_REQUESTED }, { rule: { maxVmpl: 3 } }),
  snp(
    'guest SVN',
    ['GUEST_SVN'],
    { guestSvn: 1, idKeyDigest: some },
    { rule: { minGuestSvn: 2, idKeyDigest: SOME } },
  ),
  snp('host data', ['HOST_DATA'], { hostData: new Uint8Array(32).fill(1) }),
  snp(
    'keys and ids',
    ['ID_KEY', 'AUTHOR_KEY', 'FAMILY_ID', 'IMAGE_ID'],
    {},
    {
      rule: {
        ...{ idKeyDigest: SOME, authorKeyDigest: SOME },
        ...{ familyId: '01'.repeat(16), imageId: '01'.repeat(16) },
      },
    },
  ),
  snp(
    'an old TCB',
    ['SNP_TCB', 'SNP_TCB', 'SNP_TCB'],
    {},
    {
      onIt: { minTcb: { Milan: { bootLoader: 4, tee: 0, snp: 25, microcode: 219 } } },
    },
  ),
  snp('launched under an old TCB', ['SNP_TCB'], {
    launchTcb: encodeSnpTcb('Milan', { bootLoader: 4, tee: 0, snp: 23, microcode: 219 }),
  }),
  snp('another product', ['PRODUCT'], {}, { onIt: { minTcb: { Genoa: minTcb.Milan } } }),
  snp('revocation unchecked', ['REVOCATION_UNCHECKED'], {}, { unchecked: true }),
  snp('unchecked allowed', [], {}, { unchecked: true, onIt: { allowUncheckedRevocation: true } }),
  snp('no alias check', ['ALIAS_CHECK'], { platformInfo: 0n }),
  snp('none wanted', [], { platformInfo: 0n }, { onIt: { allowWithoutAliasCheck: true } }),
  snp(
    'platform flags',
    ['PLATFORM_INFO', 'PLATFORM_INFO'],
    { platformInfo: SNP_PLATFORM.aliasCheckComplete | SNP_PLATFORM.smtEnabled },
    { onIt: { demandedFlags: ['eccEnabled'], refusedFlags: ['smtEnabled'] } },
  ),
  snp('another chip', ['CHIP_ID'], {}, { onIt: { chipIds: ['00'.repeat(64)] } }),
  snp('this chip', [], {}, { onIt: { chipIds: [CHIP] } }),
  snp(
    'this chip, masked in the report',
    [],
    { chipId: new Uint8Array(64) },
    { onIt: { chipIds: [CHIP] } },
  ),
  snp(
    'another chip, masked in the report',
    ['CHIP_ID'],
    { chipId: new Uint8Array(64) },
    { onIt: { chipIds: ['00'.repeat(64)] } },
  ),
]

/** Every case. */
export const CASES: readonly Case[] = [...ENCLAVES, ...TDS, ...GUESTS]
