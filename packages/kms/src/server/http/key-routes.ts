import { Dek } from '@cloister/sealed'
import type { Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { fromBase64Url, sha256, toBase64Url, toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import { type answers, requests } from '../../protocol/messages.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import type { KeyDescription } from '../keys/index.ts'
import { contextOf } from '../release/release.ts'
import type { KmsService } from '../service.ts'
import { idOf, ownerAct, ownerRead, ownerUse, requireOwner } from './owner.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** Routes of keys: each authenticates, acts in one transaction, and replies. */
export function keyRoutes(app: FastifyInstance, service: KmsService): void {
  app.post('/v1/keys', async (request): Reply<'key'> => {
    const { mode, alias } = parseAs('request', requests.createKey, request.body)
    const { value } = await ownerAct(service, request, 'create-key', {}, async (tx, owner, act) => {
      const at = service.now()
      const named = alias === undefined ? {} : { alias }
      const key = await service.keys.create(tx, { owner, mode, at, ...named })
      Object.assign(act.details, { keyId: key.keyId, mode })
      return key
    })
    return keyJson(value)
  })

  app.get('/v1/keys', async (request): Reply<'keys'> => {
    const keys = await ownerRead(service, request, (tx, owner) => service.keys.list(tx, owner))
    return { keys: keys.map(keyJson) }
  })

  app.post('/v1/keys/:id/wrap', async (request): Reply<'wrap'> => {
    const keyId = idOf(request, cmkId)
    const { dek: text, context } = parseAs('request', requests.wrap, request.body)
    const bytes = fromBase64Url('DEK', text)
    const dek = Dek.from(bytes)
    bytes.fill(0)
    const details = { keyId, ...context }
    const value = await ownerUse(service, request, 'wrap', details, async (tx, owner, act) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
      const key = await service.keys.usable(tx, keyId)
      const { datasetId, fileId, fixedDigestHex } = context
      return await service.keys.wrapDek(tx, key, dek, contextOf(datasetId, fileId, fixedDigestHex))
    }).finally(() => dek.dispose())
    const { kmsId } = service.identity
    const { cmkVersion, wrappedDek } = value
    return { slot: { kmsId, cmkId: keyId, cmkVersion, wrappedDek: toBase64Url(wrappedDek) } }
  })

  app.post('/v1/keys/:id/unwrap', async (request): Reply<'unwrap'> => {
    const keyId = idOf(request, cmkId)
    const { slot, context } = parseAs('request', requests.unwrap, request.body)
    const details = { keyId, ...context }
    const value = await ownerUse(service, request, 'unwrap', details, async (tx, owner, act) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
      const key = await service.keys.usable(tx, keyId)
      if (key.mode !== 'open') {
        throw new KmsError(
          'KEY_ATTESTED_ONLY',
          `key ${keyId} is attested-only: its DEKs are released to attested enclaves and never else`,
        )
      }
      if (slot.kmsId !== service.identity.kmsId || slot.cmkId !== keyId) {
        throw new KmsError('SLOT_INVALID', 'the slot is of another key')
      }
      const { datasetId, fileId, fixedDigestHex } = context
      const wrapped = {
        cmkVersion: slot.cmkVersion,
        wrappedDek: fromBase64Url('wrapped DEK', slot.wrappedDek),
      }
      const bound = contextOf(datasetId, fileId, fixedDigestHex)
      return await service.keys.unwrapDek(tx, key, wrapped, bound)
    })
    const bytes = value.exposeBytes()
    const dek = toBase64Url(bytes)
    bytes.fill(0)
    value.dispose()
    return { dek }
  })

  app.post('/v1/keys/:id/rotate', async (request): Reply<'key'> => {
    const keyId = idOf(request, cmkId)
    const details = { keyId }
    const { value } = await ownerAct(
      service,
      request,
      'rotate-key',
      details,
      async (tx, owner, act) => {
        requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
        const key = await service.keys.rotate(tx, keyId, service.now())
        act.details['version'] = key.currentVersion
        return key
      },
    )
    return keyJson(value)
  })

  app.post('/v1/keys/:id/rewrap', async (request): Reply<'rewrap'> => {
    const keyId = idOf(request, cmkId)
    const body = parseAs('request', requests.rewrap, request.body)
    const header = fromBase64Url('header', body.header)
    const details = { keyId, headerDigest: toHex(sha256(header)) }
    const value = await ownerUse(service, request, 'rewrap', details, async (tx, owner, act) => {
      requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
      const key = await service.keys.usable(tx, keyId)
      act.details['version'] = key.currentVersion
      return await service.keys.rewrapHeader(tx, key, header, service.identity.kmsId)
    })
    return { header: toBase64Url(value) }
  })

  for (const [verb, state] of [
    ['disable', 'disabled'],
    ['enable', 'enabled'],
  ] as const) {
    app.post(`/v1/keys/:id/${verb}`, async (request): Reply<'key'> => {
      const keyId = idOf(request, cmkId)
      const action = `${verb}-key`
      const { value } = await ownerAct(
        service,
        request,
        action,
        { keyId },
        async (tx, owner, act) => {
          requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
          await service.keys.setState(tx, keyId, state)
          return await service.keys.get(tx, keyId)
        },
      )
      return keyJson(value)
    })
  }
}

function keyJson(key: KeyDescription): Static<typeof answers.key> {
  const { keyId, owner, mode, state, currentVersion, alias, createdAt } = key
  return { keyId, owner, mode, state, currentVersion, alias, createdAt }
}
