import type { FastifyInstance } from 'fastify'
import { requests } from '../../protocol/messages.ts'
import { cmkId, hexId, parseAs } from '../../protocol/schema.ts'
import { EVERYTHING } from '../accounts/index.ts'
import type { Ehsm } from '../ehsm/index.ts'
import { WEAK_SWITCHES } from '../observe/index.ts'
import type { KmsService } from '../service.ts'
import { accountJson, ehsmAccountJson, issuedJson, tenantJson } from './account-json.ts'
import type { Reply } from './key-answer.ts'
import { idOf, operatorAct, requireOperator } from './owner.ts'

const STATES = [
  ['disable', 'disabled'],
  ['enable', 'enabled'],
] as const

/** Routes of the operator, who makes tenants and their administrators, and acts for no account. */
export function operatorRoutes(app: FastifyInstance, service: KmsService, ehsm: Ehsm): void {
  app.get('/v1/operator/service', async (request): Reply<'service'> => {
    await requireOperator(service, request)
    return {
      startedAt: service.startedAt.toISOString(),
      weakSwitches: service.weakSwitches.map(name => ({
        switch: name,
        weakens: WEAK_SWITCHES[name],
      })),
    }
  })

  app.get('/v1/operator/tenants', async (request): Reply<'tenants'> => {
    await requireOperator(service, request)
    const tenants = await service.store.read(tx => service.tenants.list(tx))
    return { tenants: tenants.map(tenantJson) }
  })

  app.post('/v1/operator/tenants', async (request): Reply<'tenant'> => {
    const { name } = parseAs('request', requests.createTenant, request.body)
    const { value } = await operatorAct(
      service,
      request,
      'create-tenant',
      { name },
      async (tx, act) => {
        const tenant = await service.tenants.create(tx, name, service.now())
        act.details['tenantId'] = tenant.tenantId
        return tenant
      },
    )
    return tenantJson(value)
  })

  for (const [verb, state] of STATES) {
    app.post(`/v1/operator/tenants/:id/${verb}`, async (request): Reply<'tenant'> => {
      const tenantId = idOf(request, hexId)
      const { value } = await operatorAct(service, request, `${verb}-tenant`, { tenantId }, tx =>
        service.tenants.setState(tx, tenantId, state),
      )
      return tenantJson(value)
    })
  }

  for (const [name, token] of [
    ['operator', service.operatorToken],
    ['audit', service.auditToken],
  ] as const) {
    app.post(`/v1/operator/tokens/${name}/rotate`, async (request): Reply<'token'> => {
      const act = `rotate-${name}-token`
      const { value } = await operatorAct(service, request, act, {}, tx => token.replace(tx))
      // Stored first: a file that shows the one before is written anew at the next start.
      await token.show()
      return { token: value }
    })
  }

  app.get('/v1/operator/ehsm-accounts', async (request): Reply<'ehsmAccounts'> => {
    await requireOperator(service, request)
    const accounts = await service.store.read(tx => ehsm.accounts.list(tx))
    return { accounts: accounts.map(ehsmAccountJson) }
  })

  for (const [verb, state] of STATES) {
    app.post(`/v1/operator/ehsm-accounts/:id/${verb}`, async (request): Reply<'ehsmAccount'> => {
      // Made as a key's id is.
      const appId = idOf(request, cmkId)
      const { value } = await operatorAct(service, request, `${verb}-ehsm-account`, { appId }, tx =>
        ehsm.accounts.setState(tx, appId, state),
      )
      return ehsmAccountJson(value)
    })
  }

  app.post('/v1/operator/tenants/:id/administrators', async (request): Reply<'accountMade'> => {
    const tenantId = idOf(request, hexId)
    const body = parseAs('request', requests.createAdministrator, request.body)
    const { certificate = null, name } = body
    const { value } = await operatorAct(
      service,
      request,
      'create-administrator',
      { tenantId },
      async (tx, act) => {
        const at = service.now()
        const tenant = await service.tenants.get(tx, tenantId)
        const account = await service.accounts.create(
          tx,
          { tenantId: tenant.tenantId, name, kind: 'person', role: 'administrator' },
          at,
        )
        act.details['accounts'] = [account.accountId]
        const kind = certificate === null ? 'bearer' : 'certificate'
        const first = { ...EVERYTHING, name: 'first', kind, certificate } as const
        const issued = await service.credentials.issue(tx, account, first, at)
        return { account: accountJson(account), issued: await issuedJson(service, tx, issued) }
      },
    )
    return value
  })
}
