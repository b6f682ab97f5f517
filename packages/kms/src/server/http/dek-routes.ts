import { Dek } from '@cloister/sealed'
import type { FastifyInstance } from 'fastify'
import { fromBase64Url, sha256, toBase64Url, toHex } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import { requests } from '../../protocol/messages.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import { contextOf } from '../release/release.ts'
import type { KmsService } from '../service.ts'
import type { Reply } from './key-answer.ts'
import { idOf, ownerUse, requireOwner } from './owner.ts'

/** Routes of the data keys of sealed files, as their owners wrap, unwrap and rewrap them. */
export function dekRoutes(app: FastifyInstance, service: KmsService): void {
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
}
