import { type Static, Type } from '@sinclair/typebox'
import { jobTemplateSchema } from '../job-template/job-template.ts'
import { cmkId, hexDigest, hexId } from '../schema.ts'

const strict = { additionalProperties: false } as const

/** Most characters of a policy's Cedar text. */
export const MAX_CEDAR_LENGTH = 8 << 10

const short = (max: number) => ({ minItems: 1, maxItems: max, uniqueItems: true })

/** Kinds of TEE that a policy can name. */
export const POLICY_TEES = ['sgx', 'tdx', 'sev-snp', 'sim'] as const

/** TCB statuses that a policy can name: all but `Revoked`, under which nothing is ever released. */
export const POLICY_TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  /** Of SEV-SNP, whose vendor publishes no levels: what the KMS's appraisal policy demands is met. */
  'MeetsAppraisal',
] as const

const tees = Type.Array(Type.Union(POLICY_TEES.map(tee => Type.Literal(tee))), short(4))
const tcbStatuses = Type.Array(
  Type.Union(POLICY_TCB_STATUSES.map(status => Type.Literal(status))),
  short(7),
)

const u16 = Type.Integer({ minimum: 0, maximum: 0xffff })

/** One image by its measurement, or all that a signer signs from a version on. */
const imageRule = Type.Union([
  Type.Object({ measurement: hexDigest }, strict),
  Type.Object({ mrSigner: hexDigest, isvProdId: u16, minIsvSvn: u16 }, strict),
])

/** A day, from its midnight in UTC, or an instant in UTC; stored as an instant with milliseconds. */
const dayOrInstant = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}(:\\d{2}(\\.\\d{3})?)?Z)?$',
})

const timeOfDay = Type.String({ pattern: '^([01]\\d|2[0-3]):[0-5]\\d$' })

/** What a release policy is written from. There is no member that admits debug enclaves. */
export const releaseTemplateSchema = Type.Object(
  {
    keyId: cmkId,
    images: Type.Array(imageRule, short(64)),
    tees,
    tcbStatuses,
    /** Exactly one of the three says which jobs. */
    jobDigests: Type.Optional(Type.Array(hexDigest, short(64))),
    jobTemplate: Type.Optional(jobTemplateSchema),
    allowAnyJob: Type.Optional(Type.Literal(true)),
    /** `release` opens inputs, `seal` makes keys of outputs; both unless told. */
    actions: Type.Optional(
      Type.Array(Type.Union([Type.Literal('release'), Type.Literal('seal')]), short(2)),
    ),
    /** All that are under the key, unless told. */
    datasets: Type.Optional(Type.Array(hexId, short(64))),
    notBefore: Type.Optional(dayOrInstant),
    notAfter: Type.Optional(dayOrInstant),
    /** Times of the day in UTC; past midnight where `to` is not after `from`. Monday is 1. */
    hours: Type.Optional(
      Type.Object(
        {
          from: timeOfDay,
          to: timeOfDay,
          weekdays: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: 7 }), short(7))),
        },
        strict,
      ),
    ),
    /** Releases that this policy permits in all. */
    maxReleases: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
    /** Single platforms, by what the vendor calls them. */
    platforms: Type.Optional(
      Type.Array(Type.String({ pattern: '^([0-9a-f]{32}|[0-9a-f]{128})$' }), short(64)),
    ),
    minTcbDate: Type.Optional(dayOrInstant),
    minTcbEvaluationDataNumber: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
    /** Advisories that may be open on the platform; any, unless told. */
    acceptedAdvisories: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Z0-9-]{1,40}$' }), {
        maxItems: 128,
        uniqueItems: true,
      }),
    ),
  },
  strict,
)

/** A release policy as people write it. */
export type ReleaseTemplate = Static<typeof releaseTemplateSchema>

const cedar = Type.String({ minLength: 1, maxLength: MAX_CEDAR_LENGTH })

/** Bodies that add a policy, by what it is written from. */
export const policyForms = {
  template: Type.Object({ template: releaseTemplateSchema }, strict),
  /** `allowAnyJob` where it permits and says nothing of the job. */
  cedar: Type.Object({ cedar, allowAnyJob: Type.Optional(Type.Literal(true)) }, strict),
  /** The short form for one image and one job. */
  jobDigest: Type.Object(
    { keyId: cmkId, measurement: hexDigest, jobDigest: hexDigest, tees, tcbStatuses },
    strict,
  ),
  allowAnyJob: Type.Object(
    {
      keyId: cmkId,
      measurement: hexDigest,
      allowAnyJob: Type.Literal(true),
      tees,
      tcbStatuses,
    },
    strict,
  ),
} as const

const withdrawal = Type.Object(
  {
    kind: Type.Union([Type.Literal('measurement'), Type.Literal('signer')]),
    /** Of a SEV-SNP guest's signer 96 digits: its ID key's or author key's digest. */
    value: Type.String({ pattern: '^([0-9a-f]{64}|[0-9a-f]{96})$' }),
    reason: Type.Optional(Type.String({ maxLength: 500, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })),
  },
  strict,
)

/** Bodies of requests about policies and withdrawals. */
export const policyRequests = {
  addPolicy: Type.Union([
    policyForms.template,
    policyForms.cedar,
    policyForms.jobDigest,
    policyForms.allowAnyJob,
  ]),
  withdraw: withdrawal,
} as const

const policyDescriptionSchema = Type.Object({
  policyId: Type.String(),
  keyId: cmkId,
  /** The text, which decides. */
  cedar: Type.String(),
  createdAt: Type.String(),
  effect: Type.Union([Type.Literal('permit'), Type.Literal('forbid')]),
  /** What the text was written from; `null` where it was given as text. */
  template: Type.Union([Type.Unknown(), Type.Null()]),
  /** How often it has permitted a release. */
  releases: Type.Integer(),
})

const withdrawalSchema = Type.Object({
  withdrawalId: hexId,
  kind: Type.Union([Type.Literal('measurement'), Type.Literal('signer')]),
  value: Type.String(),
  /** Whether it is for the whole installation, by its operator. */
  byOperator: Type.Boolean(),
  reason: Type.String(),
  createdAt: Type.String(),
})

/** Bodies of answers about policies and withdrawals. */
export const policyAnswers = {
  policy: policyDescriptionSchema,
  policies: Type.Object({ policies: Type.Array(policyDescriptionSchema) }),
  removed: Type.Object({ policyId: Type.String() }),
  /** With the instant at which the last token ends that was given before. */
  withdrawn: Type.Object({ withdrawal: withdrawalSchema, tokensEndAt: Type.String() }),
  withdrawals: Type.Object({ withdrawals: Type.Array(withdrawalSchema) }),
  withdrawalUndone: Type.Object({ withdrawalId: hexId }),
} as const

/** A release policy to be written. */
export type NewPolicy = Static<typeof policyRequests.addPolicy>
/** A release policy, as its owner sees it. */
export type PolicyDescription = Static<typeof policyDescriptionSchema>
/** A measurement or a signer that nothing is released to. */
export type WithdrawalJson = Static<typeof withdrawalSchema>
/** A measurement or a signer to be withdrawn. */
export type NewWithdrawal = Static<typeof withdrawal>
