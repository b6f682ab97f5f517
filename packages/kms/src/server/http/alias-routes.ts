import type { FastifyInstance, FastifyRequest } from 'fastify'
import { alias as aliasSchema } from '../../protocol/messages/keys.ts'
import { requests } from '../../protocol/messages.ts'
import { parseAs } from '../../protocol/schema.ts'
import type { KmsService } from '../service.ts'
import { pageOf, type Reply } from './key-answer.ts'
import { ownerAct, ownerRead, requireOwner } from './owner.ts'

/** Routes of the names that accounts have for their keys. */
export function aliasRoutes(app: FastifyInstance, service: KmsService): void {
  const { aliases } = service.keys

  app.get('/v1/aliases', async (request): Reply<'aliases'> => {
    const page = pageOf(request)
    return await ownerRead(service, request, async (tx, owner) => {
      const { items, next } = await aliases.list(tx, owner, page)
      return { aliases: [...items], next }
    })
  })

  app.post('/v1/aliases', async (request): Reply<'alias'> => {
    const { alias, keyId } = parseAs('request', requests.createAlias, request.body)
    const details = { alias, keyId }
    const { value } = await ownerAct(
      service,
      request,
      'create-alias',
      details,
      async (tx, owner, act) => {
        const key = await service.keys.get(tx, keyId)
        requireOwner(owner, key.owner, act)
        return await aliases.create(tx, { alias, key, at: service.now() })
      },
    )
    return value
  })

  app.post('/v1/aliases/:alias/update', async (request): Reply<'alias'> => {
    const alias = aliasOf(request)
    const { keyId } = parseAs('request', requests.updateAlias, request.body)
    const details = { alias, keyId }
    const { value } = await ownerAct(
      service,
      request,
      'update-alias',
      details,
      async (tx, owner, act) => {
        const key = await service.keys.get(tx, keyId)
        requireOwner(owner, key.owner, act)
        return await aliases.move(tx, alias, key)
      },
    )
    return value
  })

  app.post('/v1/aliases/:alias/delete', async (request): Reply<'aliasDeleted'> => {
    const alias = aliasOf(request)
    parseAs('request', requests.nothing, request.body ?? {})
    await ownerAct(service, request, 'delete-alias', { alias }, async (tx, owner, act) => {
      act.details['keyId'] = await aliases.remove(tx, owner, alias)
    })
    return { alias }
  })
}

/** The alias in a route. @throws KmsError MALFORMED */
function aliasOf(request: FastifyRequest): string {
  const { alias } = { alias: undefined, ...(request.params as Record<string, unknown>) }
  return parseAs('alias', aliasSchema, alias)
}
