import { type Static, Type } from '@sinclair/typebox'
import { KmsError } from '../../../protocol/errors.ts'
import type { JobStatement } from '../../../protocol/job-statement.ts'
import { cmkId, hexDigest, hexId, parseAs } from '../../../protocol/schema.ts'
import type { ReleaseRequest } from '../request.ts'

const strict = { additionalProperties: false } as const
const text = Type.String({ minLength: 1, maxLength: 200 })
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const when = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}(:\\d{2}(\\.\\d{1,3})?)?Z$',
})
const u16 = Type.Integer({ minimum: 0, maximum: 0xffff })

const evidence = Type.Partial(
  Type.Object(
    {
      measurement: hexDigest,
      tee: text,
      tcbStatus: text,
      debug: Type.Boolean(),
      advisories: Type.Array(text, { maxItems: 128 }),
      mrSigner: hexDigest,
      isvProdId: u16,
      isvSvn: u16,
      platform: text,
      tcbDate: when,
      tcbEvaluationDataNumber: count,
    },
    strict,
  ),
)

const described = {
  key: cmkId,
  dataset: hexId,
  action: Type.Union([Type.Literal('release'), Type.Literal('seal')]),
  evidence,
  /** A file: a job.yaml, or a job statement as JSON. */
  job: text,
  jobDigest: hexDigest,
  at: when,
  /** Releases before: under the key, and by each policy. */
  releases: Type.Partial(Type.Object({ key: count, policy: count }, strict)),
}

/** A request as a file describes it; what is left out is filled in, or asked for. */
const requestSchema = Type.Partial(Type.Object(described, strict))

const expectation = Type.Union([Type.Literal('permit'), Type.Literal('deny')])

const caseSchema = Type.Intersect([
  Type.Partial(Type.Object(described)),
  Type.Object({
    name: text,
    expect: expectation,
    /** Codes of which each must be among a denial's reasons. */
    reasons: Type.Optional(Type.Array(text, { minItems: 1, maxItems: 32, uniqueItems: true })),
  }),
])

const caseFileSchema = Type.Object(
  {
    version: Type.Literal(1),
    /** Files of policies, beside this one; without them those that are stored. */
    policies: Type.Optional(Type.Array(text, { minItems: 1, maxItems: 32 })),
    given: Type.Optional(requestSchema),
    cases: Type.Array(caseSchema, { minItems: 1, maxItems: 1000 }),
  },
  strict,
)

/** A file of cases. */
export type CaseFile = Static<typeof caseFileSchema>

/** A request as it is described. */
export type DescribedRequest = Static<typeof requestSchema>

const CASE_MEMBERS = [...Object.keys(described), 'name', 'expect', 'reasons']

/** Checks a file of cases. @throws KmsError MALFORMED naming the first place that does not fit */
export function parseCaseFile(value: unknown): CaseFile {
  const file = parseAs('policy tests', caseFileSchema, value)
  for (const [index, one] of file.cases.entries()) {
    const odd = Object.keys(one).find(name => !CASE_MEMBERS.includes(name))
    if (odd !== undefined) throw malformed(`case ${index + 1} has an unknown member "${odd}"`)
    if (one.reasons !== undefined && one.expect === 'permit') {
      throw malformed(`case ${index + 1}: a permit has no reasons`)
    }
  }
  return file
}

/** Checks a request that is described by itself. @throws KmsError MALFORMED */
export function parseDescribedRequest(value: unknown): DescribedRequest {
  return parseAs('request', requestSchema, value)
}

/** What a described request asks, and what was released before it. */
export interface DescribedCase {
  readonly request: ReleaseRequest
  readonly releases: { readonly key: number; readonly policy: number }
}

/**
 * Fills in what a description leaves out: a platform that is up to date, no release before, now.
 * @param job - The statement of the job that it names
 * @throws KmsError MALFORMED where it says nothing of the key, the measurement or the TEE
 */
export function describedCase(
  { given = {}, one }: { readonly given?: DescribedRequest; readonly one: DescribedRequest },
  job: { readonly statement: JobStatement; readonly digest: string } | undefined,
  now: Date,
): DescribedCase {
  const all = { ...given, ...one }
  const claims = { ...given.evidence, ...one.evidence }
  const { action = 'release', dataset = '0'.repeat(32), key, releases = {} } = all
  const { measurement, tcbDate, tee } = claims
  if (key === undefined) throw malformed('a request names the key that it is for')
  if (tee === undefined) throw malformed('evidence says in which tee')
  const seen = measurement ?? job?.statement.measurement
  if (seen === undefined) throw malformed('evidence has a measurement, or the job names one')
  const { tcbDate: _date, ...rest } = claims
  return {
    request: {
      action,
      principal: {
        kind: 'enclave',
        tcbStatus: 'UpToDate',
        debug: false,
        advisories: [],
        ...rest,
        tee,
        measurement: seen,
        ...(tcbDate === undefined ? {} : { tcbDate: new Date(tcbDate) }),
      },
      keyId: key,
      datasetId: dataset,
      jobDigest: all.jobDigest ?? job?.digest ?? '0'.repeat(64),
      job: job?.statement,
      at: all.at === undefined ? now : new Date(all.at),
    },
    releases: { key: releases.key ?? 0, policy: releases.policy ?? 0 },
  }
}

function malformed(what: string): KmsError {
  return new KmsError('MALFORMED', what)
}
