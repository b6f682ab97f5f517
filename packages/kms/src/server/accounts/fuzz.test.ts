import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newMember, newTenant, WHOLE } from '../accounts-flow.test.support.ts'
import { World } from '../flow.test.support.ts'
import { garbled } from '../garbled.test.support.ts'
import { rawCall } from '../http/raw-call.test.support.ts'

const RUNS = process.env['SLOW'] === '1' ? 2000 : 60

const log: string[] = []
let world: World

beforeAll(async () => {
  world = await World.start({ logTo: line => log.push(line) })
})

afterAll(() => world.stop())

/** Routes and bodies that are taken as they stand. */
async function wellFormed() {
  const { administrator, credential, tenantId } = await newTenant(world, 'fuzzed')
  const { accountId, credentialId } = await newMember(world, administrator)
  const { keyId } = await administrator.createKey({ mode: 'open' })
  const operator = await world.operatorToken()
  const account = { name: 'x', kind: 'service', role: 'member', credential: WHOLE }
  const routes: readonly (readonly [path: string, bearer: string, body: object])[] = [
    ['/v1/operator/tenants', operator, { name: 'x' }],
    [`/v1/operator/tenants/${tenantId}/enable`, operator, {}],
    [`/v1/operator/tenants/${tenantId}/administrators`, operator, { name: 'x' }],
    ['/v1/accounts', credential, account],
    [`/v1/accounts/${accountId}/disable`, credential, {}],
    [`/v1/accounts/${accountId}/credentials/${credentialId}/revoke`, credential, {}],
    ['/v1/credentials', credential, { ...WHOLE, keyIds: [keyId], expiresInSeconds: 60 }],
    [`/v1/credentials/${credentialId}/rotate`, credential, { overlapSeconds: 1 }],
    [`/v1/credentials/${credentialId}/revoke`, credential, {}],
    [`/v1/keys/${keyId}/grants`, credential, { accountId, actions: ['wrap'] }],
    [`/v1/keys/${keyId}/grants/remove`, credential, { accountId }],
  ]
  return routes
}

describe('whatever comes in', () => {
  it('gives a coded answer at every route of accounts', { timeout: 300_000 }, async () => {
    for (const [path, bearer, body] of await wellFormed()) {
      const statuses = new Set<number>()
      const property = fc.asyncProperty(
        garbled(path),
        garbled(bearer),
        garbled(body),
        async (route, token, sent) => {
          const { status, text } = await rawCall(world.kms.pin, {
            method: 'POST',
            path: `/${printable(route).replace(/^\/+/, '')}`,
            authorization: `Bearer ${printable(token)}`,
            body: JSON.stringify(sent),
          })
          expect(status).toBeLessThan(500)
          statuses.add(status)
          if (status !== 200) expect(Object.keys(Object(JSON.parse(text)))).toContain('code')
        },
      )
      // Now and then all are garbled, or none is.
      for (let more = 0; more < 5 && statuses.size < 2; more++) {
        await fc.assert(property, { numRuns: RUNS })
      }
      expect([path, statuses.size > 1]).toEqual([path, true])
    }
    expect(log.filter(line => line.includes('"event":"failed"'))).toEqual([])
    expect(log.filter(line => line.includes('"status":200')).length).toBeGreaterThan(RUNS)
  })
})

/** What goes into the head of a request at all. */
function printable(value: unknown): string {
  return String(value).replaceAll(/[^\x21-\x7e]|\\/g, '')
}
