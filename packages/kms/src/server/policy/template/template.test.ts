import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ReleaseTemplate } from '../../../protocol/messages/policies.ts'
import { depthOf, readCedar } from '../cedar/clauses.ts'
import { CedarEngine } from '../cedar/engine.ts'
import { validatePolicy } from '../cedar/validate.ts'
import { A, askedOf, B, KEY_ID, principal, template } from '../policies.test.fixture.ts'
import type { Asked } from '../request.ts'
import { cedarOf, conditionsOf, unmetConditions } from './conditions.ts'
import { parseReleaseTemplate } from './template.ts'

const POLICY_ID = '11111111-1111-4111-8111-111111111111'
const D = 'd'.repeat(32)
const full: ReleaseTemplate = {
  ...template,
  images: [{ measurement: A }, { mrSigner: B, isvProdId: 1, minIsvSvn: 2 }],
  actions: ['release'],
  datasets: [D],
  notBefore: '2026-01-01T00:00:00.000Z',
  notAfter: '2027-01-01T00:00:00.000Z',
  hours: { from: '22:00', to: '06:00', weekdays: [1, 7] },
  maxReleases: 3,
  platforms: ['0'.repeat(32)],
  minTcbDate: '2025-01-01T00:00:00.000Z',
  minTcbEvaluationDataNumber: 17,
  acceptedAdvisories: ['INTEL-SA-00001'],
}

describe('a policy’s text', () => {
  it('is what the template says, valid under the schema', () => {
    const cedar = cedarOf('p', template)
    expect(cedar).toBe(`@id("p")
permit (
  principal is Cloister::Instance,
  action in [Cloister::Action::"release", Cloister::Action::"seal"],
  resource == Cloister::Key::"${KEY_ID}"
)
when { principal.debug == false }
when { principal.measurement == "${A}" }
when { ["sgx", "sim"].contains(principal.tee) }
when { principal.tcbStatus == "UpToDate" }
when { context.jobDigest == "${B}" };
`)
    validatePolicy({ policyId: 'p', cedar })
  })

  it('says every condition that a template can have, valid under the schema', () => {
    const cedar = cedarOf(POLICY_ID, parseReleaseTemplate(full))
    validatePolicy({ policyId: POLICY_ID, cedar })
    expect(cedar).toContain(`Cloister::Policy::"${POLICY_ID}".releases < 3`)
    const codes = conditionsOf(POLICY_ID, full).map(({ code }) => code)
    expect(codes).toEqual([
      ...['ACTION', 'DEBUG', 'MEASUREMENT', 'TEE', 'TCB_STATUS', 'JOB_DIGEST', 'POLICY_DATASET'],
      ...['NOT_BEFORE', 'NOT_AFTER', 'HOURS', 'RELEASE_LIMIT', 'PLATFORM', 'TCB_DATE'],
      ...['TCB_EVALUATION_DATA_NUMBER', 'ADVISORIES'],
    ])
  })

  it('lies no deeper in itself for the longest lists that a template can have', () => {
    const digests = Array.from({ length: 64 }, (_, index) => index.toString(16).padStart(64, '0'))
    const signers = digests.map(mrSigner => ({ mrSigner, isvProdId: 1, minIsvSvn: 1 }))
    const longest = parseReleaseTemplate({ ...full, images: signers, jobDigests: digests })
    const cedar = cedarOf(POLICY_ID, longest)
    validatePolicy({ policyId: POLICY_ID, cedar })
    expect(depthOf(readCedar(cedar))).toBeLessThan(60)
    expect(cedar.length).toBeLessThan(32_000)
  })

  it('names a job unless any is allowed, and never leaves debug mode out', () => {
    const { jobDigests: _digests, ...rest } = template
    const codes = conditionsOf('p', { ...rest, allowAnyJob: true }).map(({ code }) => code)
    expect(codes).toEqual(['ACTION', 'DEBUG', 'MEASUREMENT', 'TEE', 'TCB_STATUS'])
  })
})

describe('a template', () => {
  it.each([
    ['a key by its alias', { keyId: 'patients' }],
    ['a key id that is none', { keyId: '"); permit(' }],
    ['no image', { images: [] }],
    ['a measurement in capitals', { images: [{ measurement: A.toUpperCase() }] }],
    ['a signer without a floor', { images: [{ mrSigner: B, isvProdId: 1 }] }],
    ['a signer and a measurement in one', { images: [{ measurement: A, mrSigner: B }] }],
    ['no job', { jobDigests: undefined }],
    ['an empty list of jobs', { jobDigests: [] }],
    ['any job, and one', { allowAnyJob: true }],
    ['any job that is not said loudly', { jobDigests: undefined, allowAnyJob: false }],
    ['no TEE', { tees: [] }],
    ['an unknown TEE', { tees: ['sim', 'trustzone'] }],
    ['no TCB status', { tcbStatuses: [] }],
    ['a revoked platform', { tcbStatuses: ['Revoked'] }],
    ['leave for debug enclaves', { allowDebug: true }],
    ['an end before its beginning', { notBefore: full.notAfter, notAfter: full.notBefore }],
    ['a day that is none', { notBefore: '2026-02-30T00:00:00.000Z' }],
    ['no hour at all', { hours: { from: '08:00', to: '08:00' } }],
    ['an hour that is none', { hours: { from: '24:00', to: '08:00' } }],
    ['no weekday', { hours: { from: '07:00', to: '08:00', weekdays: [] } }],
    ['a limit of no release', { maxReleases: 0 }],
    ['no dataset', { datasets: [] }],
    ['an advisory with quotes', { acceptedAdvisories: ['" ) ; permit('] }],
    ['no platform', { platforms: [] }],
    ['no action', { actions: [] }],
  ])('is refused with %s', (_what, change) => {
    expect(() => parseReleaseTemplate({ ...template, ...change })).toThrow(
      expect.objectContaining({ code: 'POLICY_INVALID' }),
    )
  })

  it('says what is wrong with the form that is nearest', () => {
    const images = [{ mrSigner: 5151, isvProdId: 1, minIsvSvn: 1 }]
    expect(() => parseReleaseTemplate({ ...template, images })).toThrow(
      'policy at /images/0/mrSigner: Expected string',
    )
  })

  it('fails with a code on anything else', () => {
    fc.assert(
      fc.property(fc.anything(), value => {
        expect(() => parseReleaseTemplate(value)).toThrow(
          expect.objectContaining({ code: 'POLICY_INVALID' }),
        )
      }),
    )
  })

  it('reads the same in any order', () => {
    const shuffled = { ...template, tees: ['sim', 'sgx'], jobDigests: [B, A] }
    expect(parseReleaseTemplate(shuffled)).toEqual({ ...template, jobDigests: [A, B] })
  })

  it('takes a day for its midnight, and keeps instants in one form', () => {
    const days = {
      notBefore: '2026-01-01',
      notAfter: '2026-01-01T06:30Z',
      minTcbDate: '2025-08-13',
    }
    expect(parseReleaseTemplate({ ...template, ...days })).toMatchObject({
      notBefore: '2026-01-01T00:00:00.000Z',
      notAfter: '2026-01-01T06:30:00.000Z',
      minTcbDate: '2025-08-13T00:00:00.000Z',
    })
  })

  it('as it was first stored is still read', () => {
    const { images: _images, jobDigests: _digests, ...rest } = template
    const digest = { ...rest, measurement: A, job: { kind: 'digest', jobDigest: B } }
    expect(parseReleaseTemplate(digest)).toEqual(template)
    const any = parseReleaseTemplate({ ...rest, measurement: A, job: { kind: 'any' } })
    expect(any).toEqual({ ...rest, images: [{ measurement: A }], allowAnyJob: true })
    for (const job of [undefined, {}, { kind: 'digest' }, { kind: 'any', jobDigest: B }]) {
      expect(() => parseReleaseTemplate({ ...rest, measurement: A, job })).toThrow()
    }
  })
})

const hex = fc.constantFrom(A, B)
const svn = fc.integer({ min: 0, max: 4 })
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const instants = fc
  .integer({ min: 0, max: 40 })
  .map(step => Date.UTC(2026, 0, 1) + step * 7_500_000)
const isoInstants = instants.map(ms => new Date(ms).toISOString())
const advisories = fc.subarray(['INTEL-SA-00001', 'INTEL-SA-00002'])
const platforms = ['0'.repeat(32), '1'.repeat(32)]

const asking: fc.Arbitrary<Asked> = fc
  .record({
    action: fc.constantFrom('release' as const, 'seal' as const),
    jobDigest: hex,
    datasetId: fc.constantFrom(D, 'e'.repeat(32)),
    at: instants.map(ms => new Date(ms)),
    releases: fc.record({
      ofKey: fc.nat(5),
      ofPolicy: fc.nat(5).map(count => new Map([[POLICY_ID, count]])),
    }),
    principal: fc.record(
      {
        kind: fc.constant('enclave' as const),
        measurement: hex,
        tee: fc.constantFrom('sgx', 'tdx', 'sev-snp', 'sim', 'other', ''),
        tcbStatus: fc.constantFrom('UpToDate', 'OutOfDate', 'Revoked', 'SWHardeningNeeded'),
        debug: fc.constantFrom(false, false, false, true),
        advisories,
        mrSigner: hex,
        isvProdId: fc.nat(1),
        isvSvn: svn,
        platform: fc.constantFrom(...platforms),
        tcbDate: instants.map(ms => new Date(ms)),
        tcbEvaluationDataNumber: fc.integer({ min: 15, max: 19 }),
      },
      { requiredKeys: ['kind', 'measurement', 'tee', 'tcbStatus', 'debug', 'advisories'] },
    ),
  })
  .map(change => askedOf(change))

const images = fc.oneof(
  hex.map(measurement => ({ measurement })),
  fc.record({ mrSigner: hex, isvProdId: fc.nat(1), minIsvSvn: svn }),
)

const templates: fc.Arbitrary<ReleaseTemplate> = fc
  .record({
    images: fc.uniqueArray(images, { minLength: 1, maxLength: 3, selector: JSON.stringify }),
    job: fc.oneof(
      fc.constant({ allowAnyJob: true }),
      fc.subarray([A, B], { minLength: 1 }).map(jobDigests => ({ jobDigests })),
    ),
    tees: fc.subarray(['sgx', 'tdx', 'sev-snp', 'sim'], { minLength: 1 }),
    tcbStatuses: fc.subarray(['UpToDate', 'OutOfDate', 'SWHardeningNeeded'], { minLength: 1 }),
    actions: optional(fc.subarray(['release', 'seal'], { minLength: 1 })),
    datasets: optional(fc.constant([D])),
    window: fc.tuple(optional(isoInstants), optional(isoInstants)),
    hours: optional(
      fc.record(
        {
          from: fc.constantFrom('00:00', '08:00', '22:30'),
          to: fc.constantFrom('06:00', '17:59', '23:59'),
          weekdays: fc.subarray([1, 4, 5, 7], { minLength: 1 }),
        },
        { requiredKeys: ['from', 'to'] },
      ),
    ),
    maxReleases: optional(fc.integer({ min: 1, max: 4 })),
    platforms: optional(fc.subarray(platforms, { minLength: 1 })),
    minTcbDate: optional(isoInstants),
    minTcbEvaluationDataNumber: optional(fc.integer({ min: 16, max: 18 })),
    acceptedAdvisories: optional(advisories),
  })
  .map(({ job, window: [one, two], ...rest }) => {
    const [notBefore, notAfter] =
      one !== undefined && two !== undefined && one > two ? [two, one] : [one, two]
    const window = notBefore === notAfter ? { notBefore } : { notBefore, notAfter }
    const said = Object.entries({ ...rest, ...job, ...window, keyId: KEY_ID })
    return parseReleaseTemplate(Object.fromEntries(said.filter(([, value]) => value !== undefined)))
  })

describe('Cedar’s decision and our explanation', () => {
  it('agree on every request: a permit has no reason against it, a denial has one', () => {
    const engine = new CedarEngine()
    let permits = 0
    fc.assert(
      fc.property(templates, asking, (of, asked) => {
        const policy = { policyId: POLICY_ID, cedar: cedarOf(POLICY_ID, of) }
        const answer = engine.decide([policy], asked)
        expect(answer.errors).toEqual([])
        const reasons = unmetConditions(POLICY_ID, of, asked)
        expect(answer.permittedBy).toEqual(reasons.length === 0 ? [POLICY_ID] : [])
        permits += answer.permittedBy.length
      }),
      { numRuns: 500, examples: [[template, askedOf()]] },
    )
    expect(permits).toBeGreaterThan(0)
  })

  it('agree where one condition alone decides, for each of them', () => {
    const engine = new CedarEngine()
    const held: Asked = askedOf({
      datasetId: D,
      at: new Date('2026-01-04T23:00:00Z'),
      principal: {
        ...principal,
        platform: '0'.repeat(32),
        tcbDate: new Date('2025-06-01'),
        tcbEvaluationDataNumber: 17,
        advisories: ['INTEL-SA-00001'],
      },
    })
    const changed = (change: Partial<Asked['principal']>): Partial<Asked> => ({
      principal: { ...held.principal, ...change },
    })
    const absent = (name: string): Partial<Asked> => {
      const { [name]: _absent, ...claims } = held.principal as unknown as Record<string, unknown>
      return { principal: claims as unknown as Asked['principal'] }
    }
    const cases: readonly (readonly [string, Partial<Asked>])[] = [
      ['ACTION', { action: 'seal' }],
      ['DEBUG', changed({ debug: true })],
      ['MEASUREMENT', changed({ measurement: B, isvProdId: 2 })],
      ['ISV_SVN', changed({ measurement: B, isvSvn: 1 })],
      ['TEE', changed({ tee: 'tdx' })],
      ['TCB_STATUS', changed({ tcbStatus: 'OutOfDate' })],
      ['JOB_DIGEST', { jobDigest: A }],
      ['POLICY_DATASET', { datasetId: 'e'.repeat(32) }],
      ['NOT_BEFORE', { at: new Date('2025-12-28T23:00:00Z') }],
      ['NOT_AFTER', { at: new Date('2027-01-03T23:00:00Z') }],
      ['HOURS', { at: new Date('2026-01-04T12:00:00Z') }],
      ['HOURS', { at: new Date('2026-01-04T05:59:00Z') }],
      ['RELEASE_LIMIT', { releases: { ofKey: 3, ofPolicy: new Map([[POLICY_ID, 3]]) } }],
      ['PLATFORM', changed({ platform: '1'.repeat(32) })],
      ['PLATFORM', absent('platform')],
      ['TCB_DATE', changed({ tcbDate: new Date('2024-01-01') })],
      ['TCB_DATE', absent('tcbDate')],
      ['TCB_EVALUATION_DATA_NUMBER', changed({ tcbEvaluationDataNumber: 16 })],
      ['TCB_EVALUATION_DATA_NUMBER', absent('tcbEvaluationDataNumber')],
      ['ADVISORIES', changed({ advisories: ['INTEL-SA-00001', 'INTEL-SA-00002'] })],
    ]
    const of = parseReleaseTemplate(full)
    const policy = { policyId: POLICY_ID, cedar: cedarOf(POLICY_ID, of) }
    expect(engine.decide([policy], held).permittedBy).toEqual([POLICY_ID])
    // Monday’s small hours belong to the night that Sunday began.
    const late = { ...held, at: new Date('2026-01-05T05:59:00Z') }
    expect(engine.decide([policy], late).permittedBy).toEqual([POLICY_ID])
    for (const [code, change] of cases) {
      const asked = { ...held, ...change }
      expect([code, engine.decide([policy], asked)]).toEqual([
        code,
        { permittedBy: [], forbiddenBy: [], errors: [] },
      ])
      const reasons = unmetConditions(POLICY_ID, of, asked)
      expect(reasons.map(reason => reason.code)).toEqual([code])
      const [reason] = reasons
      expect(reason?.wanted).not.toBe('')
      expect(reason?.seen).not.toBe('')
    }
  })

  it('denies on text that is not ours too, and on claims of other types', () => {
    const engine = new CedarEngine()
    const policy = { policyId: 'p', cedar: cedarOf('p', template) }
    const nothing = { permittedBy: [], forbiddenBy: [], errors: [] }
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        const odd = { ...principal, tee: text }
        const answer = engine.decide([policy], askedOf({ principal: odd, jobDigest: text }))
        expect(answer).toEqual(nothing)
      }),
    )
    const odd = structuredClone(principal)
    Object.assign(odd, { debug: 'false' })
    const answer = engine.decide([policy], askedOf({ principal: odd }))
    expect(answer.permittedBy).toEqual([])
    expect(answer.errors).toHaveLength(1)
  })

  it('denies when a policy errs, whatever others permit', () => {
    const engine = new CedarEngine()
    const overflow = 'principal.isvSvn + 9223372036854775807 > 0'
    const broken = `forbid (principal, action, resource) when { ${overflow} };`
    const policies = [
      { policyId: 'p', cedar: cedarOf('p', template) },
      { policyId: 'q', cedar: broken },
    ]
    expect(engine.decide(policies.slice(0, 1), askedOf()).permittedBy).toEqual(['p'])
    const answer = engine.decide(policies, askedOf())
    expect(answer.permittedBy).toEqual([])
    expect(answer.errors).toHaveLength(1)
  })

  it('keeps hundreds of sets of policies apart', () => {
    const engine = new CedarEngine()
    for (let round = 0; round < 2; round++) {
      for (let key = 0; key < 300; key++) {
        const jobDigest = key.toString(16).padStart(64, '0')
        const cedar = cedarOf('p', { ...template, jobDigests: [jobDigest] })
        const answer = engine.decide([{ policyId: 'p', cedar }], askedOf({ jobDigest }))
        expect(answer.permittedBy).toEqual(['p'])
        expect(engine.decide([{ policyId: 'p', cedar }], askedOf()).permittedBy).toEqual([])
      }
    }
  })
})
