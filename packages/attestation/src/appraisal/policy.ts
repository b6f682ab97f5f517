import { primitives } from '#crypto'
import type { Brand } from '../brand.ts'
import { canonicalJson, type Json } from '../canonical-json.ts'
import { TCB_STATUSES } from '../collateral/tcb-status.ts'
import type { SnpProduct } from '../sev-snp/tcb.ts'
import { TEES } from '../tee.ts'
import { SGX_TYPES } from '../x509/pck.ts'
import {
  AppraisalPolicyError,
  advisory,
  flag,
  hexDigits,
  instant,
  integerTo,
  listOf,
  oneOf,
  PolicyFields,
  type ReadValue,
} from './fields.ts'

/** Version of the policies that are read. */
export const APPRAISAL_POLICY_VERSION = 1

/** Bits of a SEV-SNP platform that a policy can demand or refuse, by `PLATFORM_INFO`'s names. */
export const SNP_PLATFORM_FLAGS = [
  'smtEnabled',
  'tsmeEnabled',
  'eccEnabled',
  'raplDisabled',
  'ciphertextHidingEnabled',
  'aliasCheckComplete',
  'tioEnabled',
] as const

const MAX_SVN = 0xffff
/** Longest grace that a policy grants: ten years. */
export const MAX_GRACE_DAYS = 3650

/** Bits that must have these values: hexadecimal, in the order in which the report holds them. */
const maskedBytes =
  (size: number): ReadValue<{ readonly value: string; readonly mask: string }> =>
  (given, path) => {
    const fields = new PolicyFields(given, path)
    const value = fields.required('value', hexDigits(size))
    const mask = fields.required('mask', hexDigits(size))
    fields.done()
    return { value, mask }
  }

/** Platforms of SGX and TDX, and simulated ones. */
const quotePlatform = (value: unknown, path: string) => {
  const fields = new PolicyFields(value, path)
  const platform = {
    tcbStatuses: fields.required('tcbStatuses', listOf(oneOf(TCB_STATUSES))),
    ...fields.present({
      minTcbDate: instant,
      minTcbEvaluationDataNumber: integerTo(0xffffffff),
      acceptedAdvisories: listOf(advisory),
      refusedAdvisories: listOf(advisory),
      platformGraceDays: integerTo(MAX_GRACE_DAYS),
      collateralGraceDays: integerTo(MAX_GRACE_DAYS),
      allowDynamicPlatform: flag,
      allowCachedKeys: flag,
      allowSmt: flag,
      sgxTypes: listOf(oneOf(SGX_TYPES)),
      ppids: listOf(hexDigits(16)),
      platformInstanceIds: listOf(hexDigits(16)),
    }),
  }
  fields.done()
  if ((platform.platformGraceDays ?? 0) > 0 && (platform.collateralGraceDays ?? 0) > 0) {
    throw new AppraisalPolicyError(path, 'a grace period is of the platform or of the collateral')
  }
  return platform
}

/** Of Turin with its FMC, which other products do not have. */
const tcbVersion = (product: SnpProduct) => (value: unknown, path: string) => {
  const fields = new PolicyFields(value, path)
  const svn = integerTo(0xff)
  const tcb = {
    bootLoader: fields.required('bootLoader', svn),
    tee: fields.required('tee', svn),
    snp: fields.required('snp', svn),
    microcode: fields.required('microcode', svn),
    ...(product === 'Turin' ? { fmc: fields.required('fmc', svn) } : {}),
  }
  fields.done()
  return tcb
}

/** Platforms of SEV-SNP, and simulated ones. */
const snpPlatform = (value: unknown, path: string) => {
  const fields = new PolicyFields(value, path)
  const platform = {
    minTcb: fields.required('minTcb', (given, at) => {
      const products = new PolicyFields(given, at)
      const tcb = products.present({
        Milan: tcbVersion('Milan'),
        Genoa: tcbVersion('Genoa'),
        Turin: tcbVersion('Turin'),
      } satisfies Record<SnpProduct, unknown>)
      products.done()
      return tcb
    }),
    ...fields.present({
      allowUncheckedRevocation: flag,
      allowWithoutAliasCheck: flag,
      demandedFlags: listOf(oneOf(SNP_PLATFORM_FLAGS)),
      refusedFlags: listOf(oneOf(SNP_PLATFORM_FLAGS)),
      chipIds: listOf(hexDigits(64)),
    }),
  }
  fields.done()
  return platform
}

const enclaveRule = (value: unknown, path: string) => {
  const fields = new PolicyFields(value, path)
  const rule = fields.present({
    mrEnclave: hexDigits(32),
    mrSigner: hexDigits(32),
    isvProdId: integerTo(MAX_SVN),
    minIsvSvn: integerTo(MAX_SVN),
    attributes: maskedBytes(16),
    miscSelect: maskedBytes(4),
    configId: hexDigits(64),
    minConfigSvn: integerTo(MAX_SVN),
    isvFamilyId: hexDigits(16),
    isvExtProdId: hexDigits(16),
    allowDebug: flag,
    allowPublicTestSigner: flag,
  })
  fields.done()
  const bySigner = [rule.mrSigner, rule.isvProdId, rule.minIsvSvn]
  const isWhole = bySigner.every(member => member !== undefined)
  if (rule.mrEnclave === undefined && !isWhole) {
    throw new AppraisalPolicyError(
      path,
      'wanted mrEnclave, or all three of mrSigner, isvProdId and minIsvSvn',
    )
  }
  return rule
}

const tdRule = (value: unknown, path: string) => {
  const fields = new PolicyFields(value, path)
  const rule = {
    mrTd: fields.required('mrTd', hexDigits(48)),
    ...fields.present({
      rtmr0: hexDigits(48),
      rtmr1: hexDigits(48),
      rtmr2: hexDigits(48),
      rtmr3: hexDigits(48),
      mrSeams: listOf(hexDigits(48)),
      tdAttributes: maskedBytes(8),
      xfam: maskedBytes(8),
      mrConfigId: hexDigits(48),
      mrOwner: hexDigits(48),
      mrOwnerConfig: hexDigits(48),
      mrServiceTd: hexDigits(48),
      allowDebug: flag,
      allowSeptVe: flag,
    }),
  }
  fields.done()
  return rule
}

const guestRule = (value: unknown, path: string) => {
  const fields = new PolicyFields(value, path)
  const rule = {
    measurement: fields.required('measurement', hexDigits(48)),
    ...fields.present({
      hostData: hexDigits(32),
      idKeyDigest: hexDigits(48),
      authorKeyDigest: hexDigits(48),
      familyId: hexDigits(16),
      imageId: hexDigits(16),
      minGuestSvn: integerTo(0xffffffff),
      maxVmpl: integerTo(3),
      allowDebug: flag,
      allowMigrationAgent: flag,
      demandSingleSocket: flag,
      refuseSmt: flag,
    }),
  }
  fields.done()
  requireIdKey(rule, path)
  return rule
}

/**
 * A guest's SVN and ids stand in the ID block that its host launches it with: unless the policy says
 * whose signature is on that block, the host signs one of its own and writes there what it likes.
 * @see AMD 56860, SNP_LAUNCH_FINISH
 */
function requireIdKey(
  rule: Readonly<Partial<Record<'idKeyDigest' | 'authorKeyDigest', string>>> &
    Readonly<Record<string, unknown>>,
  path: string,
): void {
  const hosts = ['minGuestSvn', 'familyId', 'imageId'].find(name => rule[name] !== undefined)
  const keys = [rule.idKeyDigest, rule.authorKeyDigest]
  if (hosts === undefined || keys.some(key => key !== undefined && !/^0*$/.test(key))) return
  throw new AppraisalPolicyError(
    `${path}.${hosts}`,
    'is the host’s own word: wanted idKeyDigest or authorKeyDigest beside it, not zero',
  )
}

/** What is demanded of a platform of SGX or TDX, or a simulated one. */
export type QuotePlatformPolicy = ReturnType<typeof quotePlatform>
/** What is demanded of a platform of SEV-SNP, or a simulated one. */
export type SnpPlatformPolicy = ReturnType<typeof snpPlatform>
/** Enclaves allowed: one measurement, or a signer's product from a version on. */
export type EnclaveRule = ReturnType<typeof enclaveRule>
/** A trust domain allowed. */
export type TdRule = ReturnType<typeof tdRule>
/** A SEV-SNP guest allowed. */
export type GuestRule = ReturnType<typeof guestRule>

/** What a policy says. Bytes are lower-case hexadecimal, instants ISO 8601. */
export interface PolicyFieldsRead {
  readonly version: typeof APPRAISAL_POLICY_VERSION
  readonly tees: readonly (typeof TEES)[number][]
  /** Absent: no platform of SGX or TDX. */
  readonly platform?: QuotePlatformPolicy
  /** Absent: no platform of SEV-SNP. */
  readonly snpPlatform?: SnpPlatformPolicy
  readonly enclaves?: readonly EnclaveRule[]
  readonly tds?: readonly TdRule[]
  readonly guests?: readonly GuestRule[]
}

/**
 * What a relying party demands of verified evidence. What it does not name is refused, and an empty
 * list allows nothing. Only {@link readAppraisalPolicy} makes one.
 */
export type AppraisalPolicy = Brand<PolicyFieldsRead, 'AppraisalPolicy'>

/** SHA-256 of a policy, 32 bytes. */
export type PolicyDigest = Brand<Uint8Array, 'PolicyDigest'>

/**
 * Reads a policy: what parsed YAML or JSON gave.
 * @throws AppraisalPolicyError with the place, what was wanted and what was seen
 * @see docs/formats/appraisal-policy.md
 */
export function readAppraisalPolicy(value: unknown): AppraisalPolicy {
  const fields = new PolicyFields(value, '')
  const policy = {
    version: fields.required('version', (version, path) => {
      if (version === APPRAISAL_POLICY_VERSION) return APPRAISAL_POLICY_VERSION
      throw new AppraisalPolicyError(path, `wanted ${APPRAISAL_POLICY_VERSION}`)
    }),
    tees: fields.required('tees', listOf(oneOf(TEES))),
    ...fields.present({
      platform: quotePlatform,
      snpPlatform,
      enclaves: listOf(enclaveRule),
      tds: listOf(tdRule),
      guests: listOf(guestRule),
    }),
  }
  fields.done()
  return policy as AppraisalPolicy
}

/** SHA-256 of the policy as canonical JSON (RFC 8785), members left out left out. */
export function policyDigestOf(policy: AppraisalPolicy): PolicyDigest {
  const text = canonicalJson(policy as unknown as Json)
  return primitives.digest('SHA-256', new TextEncoder().encode(text)) as PolicyDigest
}
