import type { Static, TSchema } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { requests } from '../../protocol/messages.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import type { Act } from '../acts.ts'
import { DEFAULT_SPEC, type KeyDescription, newMaterial, usageFor } from '../keys/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import { describedKey, keyJson, pageOf, type Reply } from './key-answer.ts'
import { keyOf } from './key-name.ts'
import { requireKey } from './needs.ts'
import { idOf, ownerAct, ownerRead, requireOwner } from './owner.ts'

/** Days until a key is deleted, unless told. */
const WAITING_PERIOD_DAYS = 30

/** Routes of keys and their life: each authenticates, acts in one transaction, and replies. */
export function keyRoutes(app: FastifyInstance, service: KmsService): void {
  app.post('/v1/keys', async (request): Reply<'key'> => {
    const body = parseAs('request', requests.createKey, request.body)
    const { alias, keySpec: spec = DEFAULT_SPEC, keyUsage, mode = 'attested-only', ...notes } = body
    const { origin = 'internal', ...described } = notes
    // An account first: key pairs take their time. And before any transaction, for the same reason.
    await ownerRead(service, request, async (_tx, account) => account)
    const usage = usageFor(spec, keyUsage)
    const isOpen = mode === 'open' || spec === DEFAULT_SPEC
    const material = origin === 'internal' && isOpen ? await newMaterial(spec) : null
    const { value } = await ownerAct(service, request, 'create-key', {}, async (tx, owner, act) => {
      const at = service.now()
      const wanted = { owner, mode, spec, usage, material, at, ...described }
      const key = await service.keys.create(tx, wanted)
      Object.assign(act.details, { keyId: key.keyId, mode, keySpec: spec, origin })
      if (alias === undefined) return keyJson(key, [])
      act.details['alias'] = alias
      await service.keys.aliases.create(tx, { alias, key, at })
      return keyJson(key, [alias])
    }).finally(() => material?.fill(0))
    return value
  })

  app.get('/v1/keys', async (request): Reply<'keys'> => {
    const page = pageOf(request)
    return await ownerRead(service, request, async (tx, owner) => {
      const { items, next } = await service.keys.list(tx, owner, page)
      const aliases = await service.keys.aliases.byKey(tx, owner)
      return { keys: items.map(key => keyJson(key, aliases.get(key.keyId) ?? [])), next }
    })
  })

  app.get('/v1/keys/:id', async (request): Reply<'key'> => {
    return await ownerRead(service, request, async (tx, owner, caller) => {
      const key = await service.keys.get(tx, await keyOf(service, tx, owner, request))
      requireKey(caller, key.keyId)
      requireOwner(owner, key.owner)
      return await describedKey(service, tx, key)
    })
  })

  const changing = changingRoutes(app, service)
  changing('update', 'update-key', requests.updateKey, (tx, keyId, { description }) =>
    service.keys.life.describe(tx, keyId, description),
  )
  changing('rotate', 'rotate-key', requests.nothing, async (tx, keyId, _body, act) => {
    const key = await service.keys.rotate(tx, keyId, service.now())
    act.details['version'] = key.currentVersion
    return key
  })
  changing('disable', 'disable-key', requests.nothing, (tx, keyId) =>
    service.keys.setState(tx, keyId, 'disabled'),
  )
  changing('enable', 'enable-key', requests.nothing, (tx, keyId) =>
    service.keys.setState(tx, keyId, 'enabled'),
  )
  changing(
    'enable-rotation',
    'enable-rotation',
    requests.enableRotation,
    (tx, keyId, { periodDays }, act) => {
      act.details['periodDays'] = periodDays
      return service.keys.life.enableRotation(tx, keyId, periodDays, service.now())
    },
  )
  changing('disable-rotation', 'disable-rotation', requests.nothing, (tx, keyId) =>
    service.keys.life.disableRotation(tx, keyId),
  )
  changing(
    'schedule-deletion',
    'schedule-deletion',
    requests.scheduleDeletion,
    async (tx, keyId, { waitingPeriodDays: days = WAITING_PERIOD_DAYS }, act) => {
      const key = await service.keys.life.scheduleDeletion(tx, keyId, days, service.now())
      act.details['deletionAt'] = key.deletionAt?.toISOString() ?? null
      return key
    },
  )
  changing('cancel-deletion', 'cancel-deletion', requests.nothing, (tx, keyId) =>
    service.keys.life.cancelDeletion(tx, keyId),
  )
  changing('tag', 'tag-key', requests.tagKey, (tx, keyId, { tags }, act) => {
    act.details['tags'] = Object.keys(tags)
    return service.keys.life.tag(tx, keyId, tags)
  })
  changing('untag', 'untag-key', requests.untagKey, (tx, keyId, { tagKeys }, act) => {
    act.details['tags'] = [...tagKeys]
    return service.keys.life.untag(tx, keyId, tagKeys)
  })
}

type Change<Schema extends TSchema> = (
  tx: StoreTransaction,
  keyId: string,
  body: Static<Schema>,
  act: Act,
) => Promise<KeyDescription>

/** Routes that change a key of the caller's, named by its id and never by an alias. */
function changingRoutes(app: FastifyInstance, service: KmsService) {
  return <Schema extends TSchema>(
    verb: string,
    action: string,
    schema: Schema,
    change: Change<Schema>,
  ): void => {
    app.post(`/v1/keys/:id/${verb}`, async (request: FastifyRequest): Reply<'key'> => {
      const keyId = idOf(request, cmkId)
      const body = parseAs('request', schema, request.body ?? {})
      const { value } = await ownerAct(
        service,
        request,
        action,
        { keyId },
        async (tx, owner, act) => {
          requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
          return await describedKey(service, tx, await change(tx, keyId, body, act))
        },
      )
      return value
    })
  }
}
