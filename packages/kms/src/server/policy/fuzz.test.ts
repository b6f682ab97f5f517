import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jobTemplateOf } from '../../protocol/job-template/job-template.ts'
import { newTenant } from '../accounts-flow.test.support.ts'
import { Scene, World } from '../flow.test.support.ts'
import { garbled } from '../garbled.test.support.ts'
import { rawCall } from '../http/raw-call.test.support.ts'

const RUNS = process.env['SLOW'] === '1' ? 2000 : 60

const log: string[] = []
let world: World

beforeAll(async () => {
  world = await World.start({ logTo: line => log.push(line) })
})

afterAll(() => world.stop())

describe('whatever comes in', () => {
  it('gives a coded answer at every route of policies', { timeout: 300_000 }, async () => {
    const { administrator, credential } = await newTenant(world, 'fuzzed')
    const { job, keyId, measurement } = await Scene.make(world, administrator)
    const operator = await world.operatorToken()
    const [policy] = await administrator.listPolicies()
    const common = { keyId, tees: ['sim'], tcbStatuses: ['UpToDate'] }
    const template = {
      ...common,
      images: [{ measurement }, { mrSigner: measurement, isvProdId: 1, minIsvSvn: 2 }],
      jobTemplate: jobTemplateOf(job),
      datasets: ['0'.repeat(32)],
      notBefore: '2026-01-01T00:00:00.000Z',
      hours: { from: '08:00', to: '18:00', weekdays: [1, 2] },
      maxReleases: 3,
      acceptedAdvisories: ['INTEL-SA-00001'],
    }
    const cedar = `permit (principal, action, resource == Cloister::Key::"${keyId}")
      when { principal.measurement == "${measurement}" };`
    const withdrawal = { kind: 'measurement', value: measurement, reason: 'x' }
    const routes: readonly (readonly [string, string, object])[] = [
      ['/v1/policies', credential, { template }],
      ['/v1/policies', credential, { cedar, allowAnyJob: true }],
      ['/v1/policies', credential, { ...common, measurement, jobDigest: measurement }],
      ['/v1/policies', credential, { ...common, measurement, allowAnyJob: true }],
      [`/v1/policies/${policy?.policyId}/remove`, credential, {}],
      ['/v1/withdrawals', credential, withdrawal],
      [`/v1/withdrawals/${'0'.repeat(32)}/undo`, credential, {}],
      ['/v1/operator/withdrawals', operator, withdrawal],
      [`/v1/operator/withdrawals/${'0'.repeat(32)}/undo`, operator, {}],
    ]
    for (const [path, bearer, body] of routes) {
      const codes = new Set<unknown>()
      const runs = 'cedar' in body ? RUNS / 4 : RUNS
      const property = fc.asyncProperty(
        garbled(body, 'template' in body ? 120 : 12),
        async sent => {
          const { status, text } = await rawCall(world.kms.pin, {
            method: 'POST',
            path,
            authorization: `Bearer ${bearer}`,
            body: JSON.stringify(sent),
          })
          expect([status < 500, text]).toEqual([true, text])
          codes.add(Object(JSON.parse(text))['code'] ?? 'done')
        },
      )
      await fc.assert(property, { numRuns: runs })
      // There is nothing to undo.
      expect([path, codes.size > 1]).toEqual([path, !path.endsWith('/undo')])
    }
    expect(log.filter(line => line.includes('"event":"failed"'))).toEqual([])
    expect(log.filter(line => line.includes('"status":200')).length).toBeGreaterThan(RUNS)
  })
})
