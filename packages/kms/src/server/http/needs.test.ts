import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, it } from 'vitest'
import type { KmsService } from '../service.ts'
import { accountRoutes } from './account-routes.ts'
import { credentialRoutes } from './credential-routes.ts'
import { datasetRoutes } from './dataset-routes.ts'
import { grantRoutes } from './grant-routes.ts'
import { keyRoutes } from './key-routes.ts'
import { NEEDS } from './needs.ts'
import { policyRoutes } from './policy-routes.ts'
import { withdrawalRoutes } from './withdrawal-routes.ts'

/** Routes of accounts are declared without a service, and called with none here. */
async function routesOf(
  ...declare: readonly ((app: FastifyInstance, service: KmsService) => void)[]
): Promise<readonly string[]> {
  const app = Fastify({ exposeHeadRoutes: false })
  const routes: string[] = []
  app.addHook('onRoute', ({ method, url }) => {
    routes.push(`${String(method)} ${url}`)
  })
  for (const one of declare) one(app, {} as KmsService)
  await app.close()
  return routes
}

describe('what a route needs', () => {
  it('is written down for every route of accounts, and for none that is not there', async () => {
    const routes = await routesOf(
      accountRoutes,
      credentialRoutes,
      datasetRoutes,
      grantRoutes,
      keyRoutes,
      policyRoutes,
      withdrawalRoutes,
    )
    const others = /^POST \/v1\/enrol$|^[A-Z]+ \/v1\/operator\//
    const own = [...routes.filter(route => !others.test(route)), 'GET /v1/log/rows']
    expect(own.sort()).toEqual(Object.keys(NEEDS).sort())
  })
})
