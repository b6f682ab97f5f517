import { Dek, newDatasetId, newFileId, type Sha256 } from '@cloister/sealed'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Keys } from '../keys/index.ts'
import { openStore } from '../store/index.ts'
import { temporaryStore } from '../store/temporary-store.test.fixture.ts'
import { CedarEngine, validatePolicy } from './cedar.ts'
import { cedarOf, conditionsOf, explain } from './conditions.ts'
import { Policies, type ReleaseRequest, type ReleaseTemplate } from './index.ts'
import { parseReleaseTemplate } from './template.ts'

const at = new Date('2026-01-01T00:00:00Z')
const [A, B] = ['a'.repeat(64), 'b'.repeat(64)]
const KEY_ID = '00000000-0000-4000-8000-000000000000'

const template: ReleaseTemplate = {
  keyId: KEY_ID,
  measurement: A,
  job: { kind: 'digest', jobDigest: B },
  tees: ['sgx', 'sim'],
  tcbStatuses: ['UpToDate'],
}

const request: ReleaseRequest = {
  action: 'release',
  principal: {
    measurement: A,
    tee: 'sim',
    tcbStatus: 'UpToDate',
    mrSigner: B,
    isvProdId: 1,
    isvSvn: 2,
    debug: false,
  },
  keyId: KEY_ID,
  datasetId: 'd',
  jobDigest: B,
  at,
}

async function keyWithPolicies() {
  const opened = await temporaryStore()
  const [keys, policies] = [new Keys(opened.root), new Policies()]
  const { keyId } = await opened.store.write(tx =>
    keys.create(tx, { owner: 'a', mode: 'attested-only', at }),
  )
  const add = (change: Partial<ReleaseTemplate> = {}, owner = 'a') =>
    opened.store.write(tx => policies.add(tx, { ...template, keyId, owner, at, ...change }))
  const evaluate = (change: Partial<ReleaseRequest> = {}) =>
    opened.store.read(tx => policies.evaluate(tx, { ...request, keyId, ...change }))
  return { ...opened, keys, policies, keyId, add, evaluate }
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
when { ["UpToDate"].contains(principal.tcbStatus) }
when { context.jobDigest == "${B}" };
`)
    validatePolicy({ policyId: 'p', cedar })
  })

  it('names a job unless any is allowed, and never leaves debug mode out', () => {
    const codes = (of: ReleaseTemplate) => conditionsOf(of).map(({ code }) => code)
    expect(codes(template)).toEqual(['DEBUG', 'MEASUREMENT', 'TEE', 'TCB_STATUS', 'JOB_DIGEST'])
    const any = codes({ ...template, job: { kind: 'any' } })
    expect(any).toEqual(['DEBUG', 'MEASUREMENT', 'TEE', 'TCB_STATUS'])
  })

  it.each([
    'permit (principal, action, resource) when { principal.unknown == 1 };',
    'permit (principal, action, resource) when { principal.debug == "no" };',
    'permit (principal is Nobody, action, resource);',
    'permit (principal, action, resource)',
    'nonsense',
  ])('is refused where the schema does not know it: %s', cedar => {
    expect(() => validatePolicy({ policyId: 'p', cedar })).toThrow(
      expect.objectContaining({ code: 'POLICY_INVALID' }),
    )
  })
})

describe('a template', () => {
  it.each([
    ['a key id that is none', { keyId: '"); permit(' }],
    ['a measurement in capitals', { measurement: A.toUpperCase() }],
    ['a short measurement', { measurement: 'aa' }],
    ['no job', { job: undefined }],
    ['a job of no kind', { job: {} }],
    ['any job with a digest', { job: { kind: 'any', jobDigest: B } }],
    ['a digest job without one', { job: { kind: 'digest' } }],
    ['no TEE', { tees: [] }],
    ['an unknown TEE', { tees: ['sim', 'trustzone'] }],
    ['no TCB status', { tcbStatuses: [] }],
    ['a revoked platform', { tcbStatuses: ['Revoked'] }],
    ['leave for debug enclaves', { allowDebug: true }],
  ])('is refused with %s', (_what, change) => {
    expect(() => parseReleaseTemplate({ ...template, ...change })).toThrow(
      expect.objectContaining({ code: 'POLICY_INVALID' }),
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
    const shuffled = { ...template, tees: ['sim', 'sgx', 'sim'] }
    expect(parseReleaseTemplate(shuffled)).toEqual(template)
  })
})

describe('Cedar’s decision and our explanation', () => {
  it('agree on every request: a permit has no reason against it, a denial has one', () => {
    const engine = new CedarEngine()
    const hex = fc.constantFrom(A, B)
    const tee = fc.constantFrom('sgx', 'tdx', 'sev-snp', 'sim', 'other', '')
    const status = fc.constantFrom('UpToDate', 'OutOfDate', 'Revoked', 'SWHardeningNeeded')
    const requests = fc
      .record({
        action: fc.constantFrom('release' as const, 'seal' as const),
        jobDigest: hex,
        principal: fc.record({
          measurement: hex,
          tee,
          tcbStatus: status,
          mrSigner: hex,
          isvProdId: fc.nat(65_535),
          isvSvn: fc.nat(65_535),
          debug: fc.boolean(),
        }),
      })
      .map(change => ({ ...request, ...change }))
    const templates = fc
      .record({
        measurement: hex,
        job: fc.constantFrom({ kind: 'any' }, { kind: 'digest', jobDigest: A }),
        tees: fc.subarray(['sgx', 'tdx', 'sev-snp', 'sim'], { minLength: 1 }),
        tcbStatuses: fc.subarray(['UpToDate', 'OutOfDate', 'SWHardeningNeeded'], { minLength: 1 }),
      })
      .map(change => parseReleaseTemplate({ keyId: KEY_ID, ...change }))
    let permits = 0
    fc.assert(
      fc.property(templates, requests, (of, asked) => {
        const policy = { policyId: 'p', cedar: cedarOf('p', of) }
        const answer = engine.decide([policy], asked)
        expect(answer.errors).toEqual([])
        expect(answer.permittedBy).toEqual(explain('p', of, asked).length === 0 ? ['p'] : [])
        permits += answer.permittedBy.length
      }),
      { numRuns: 400, examples: [[template, request]] },
    )
    expect(permits).toBeGreaterThan(0)
  })

  it('denies on text that is not ours too, and on claims of other types', () => {
    const engine = new CedarEngine()
    const policy = { policyId: 'p', cedar: cedarOf('p', template) }
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        const principal = { ...request.principal, tee: text }
        const answer = engine.decide([policy], { ...request, principal, jobDigest: text })
        expect(answer).toEqual({ permittedBy: [], errors: [] })
      }),
    )
    const odd = structuredClone(request)
    Object.assign(odd.principal, { debug: 'false' })
    const answer = engine.decide([policy], odd)
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
    expect(engine.decide(policies.slice(0, 1), request).permittedBy).toEqual(['p'])
    const answer = engine.decide(policies, request)
    expect(answer.permittedBy).toEqual([])
    expect(answer.errors).toHaveLength(1)
  })
})

describe('policies', () => {
  it('deny where none names the key', async () => {
    const { evaluate } = await keyWithPolicies()
    const decision = await evaluate()
    expect(decision).toMatchObject({ decision: 'deny', reasons: [{ code: 'NO_POLICY' }] })
  })

  it('permit with a grant for exactly the request, over a restart', async () => {
    const { add, keyId, keys, path, root, store } = await keyWithPolicies()
    const { policyId } = await add()
    await store.close()
    const again = await openStore({ path, root })
    try {
      const context = {
        datasetId: newDatasetId(),
        fileId: newFileId(),
        fixedDigest: new Uint8Array(32) as Sha256,
      }
      const { datasetId } = context
      await again.read(async tx => {
        const decision = await new Policies().evaluate(tx, { ...request, keyId, datasetId })
        if (decision.decision !== 'permit') throw new Error('wanted a permit')
        expect(decision.policyId).toBe(policyId)
        const key = await keys.usable(tx, keyId)
        const wrapped = await keys.wrapDek(tx, key, Dek.generate(), context)
        const elsewhere = { ...context, datasetId: newDatasetId() }
        await keys.releaseDek(tx, key, wrapped, context, decision.grant)
        const other = keys.releaseDek(tx, key, wrapped, elsewhere, decision.grant)
        await expect(other).rejects.toMatchObject({ code: 'GRANT' })
      })
    } finally {
      await again.close()
    }
  })

  it('explain a denial policy by policy, with every condition that does not hold', async () => {
    const { add, evaluate } = await keyWithPolicies()
    const first = await add({ measurement: B })
    const second = await add({ tcbStatuses: ['OutOfDate'], tees: ['sgx'] })
    const principal = { ...request.principal, debug: true }
    const decision = await evaluate({ principal, jobDigest: A })
    if (decision.decision !== 'deny') throw new Error('wanted a denial')
    const told = decision.reasons.map(({ code, policyId, seen, wanted }) => [
      policyId === first.policyId ? 1 : policyId === second.policyId ? 2 : 0,
      code,
      wanted,
      seen,
    ])
    expect(told.sort()).toEqual(
      [
        [1, 'DEBUG', 'off', 'on'],
        [1, 'JOB_DIGEST', B, A],
        [1, 'MEASUREMENT', B, A],
        [2, 'DEBUG', 'off', 'on'],
        [2, 'JOB_DIGEST', B, A],
        [2, 'TCB_STATUS', 'OutOfDate', 'UpToDate'],
        [2, 'TEE', 'sgx', 'sim'],
      ].sort(),
    )
  })

  it('count at once when added and no longer when removed', async () => {
    const { add, evaluate, policies, store } = await keyWithPolicies()
    await add({ measurement: B })
    expect(await evaluate()).toMatchObject({ decision: 'deny' })
    const { policyId } = await add()
    expect(await evaluate()).toMatchObject({ decision: 'permit', policyId })
    await store.write(tx => policies.remove(tx, policyId))
    expect(await evaluate()).toMatchObject({ decision: 'deny' })
    const twice = store.write(tx => policies.remove(tx, policyId))
    await expect(twice).rejects.toMatchObject({ code: 'POLICY_NOT_FOUND' })
  })

  it('are listed by owner, and are for keys of their owner’s', async () => {
    const { add, keyId, policies, store } = await keyWithPolicies()
    const added = await add({ job: { kind: 'any' } })
    expect(added).toMatchObject({ keyId, owner: 'a', createdAt: at.toISOString() })
    expect(await store.read(tx => policies.list(tx, 'a'))).toEqual([added])
    expect(await store.read(tx => policies.list(tx, 'b'))).toEqual([])
    await expect(add({}, 'b')).rejects.toMatchObject({ code: 'POLICY_INVALID' })
    await expect(add({ keyId: KEY_ID })).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' })
  })
})
