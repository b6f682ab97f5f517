import type { FastifyInstance } from 'fastify'
import { requests } from '../../protocol/messages.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import type { KmsService } from '../service.ts'
import { grantJson } from './account-json.ts'
import type { Reply } from './key-answer.ts'
import { idOf, ownerAct, ownerRead, requireOwner } from './owner.ts'

/** Routes by which an owner lets other accounts of its tenant use a key. */
export function grantRoutes(app: FastifyInstance, service: KmsService): void {
  app.get('/v1/keys/:id/grants', async (request): Reply<'grants'> => {
    const keyId = idOf(request, cmkId)
    const found = await ownerRead(service, request, async (tx, owner) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner)
      return await service.grants.list(tx, keyId)
    })
    return { grants: found.map(grantJson) }
  })

  app.post('/v1/keys/:id/grants', async (request): Reply<'grant'> => {
    const keyId = idOf(request, cmkId)
    const { accountId, actions } = parseAs('request', requests.grantKey, request.body)
    const details = { keyId, actions }
    const { value } = await ownerAct(
      service,
      request,
      'grant-key',
      details,
      async (tx, owner, act, caller) => {
        requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
        const { tenantId } = caller.account
        const account = await service.accounts.inTenant(tx, tenantId, accountId)
        act.details['accounts'] = [accountId]
        return await service.grants.put(tx, keyId, account, actions, service.now())
      },
    )
    return grantJson(value)
  })

  app.post('/v1/keys/:id/grants/remove', async (request): Reply<'ungranted'> => {
    const keyId = idOf(request, cmkId)
    const { accountId } = parseAs('request', requests.ungrantKey, request.body)
    const details = { keyId, grantee: accountId }
    await ownerAct(service, request, 'ungrant-key', details, async (tx, owner, act) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
      await service.grants.remove(tx, keyId, accountId)
      act.details['accounts'] = [accountId]
    })
    return { keyId, accountId }
  })
}
