import type { FastifyInstance } from 'fastify'
import { fromBase64Url, toBase64Url } from '../../protocol/encoding.ts'
import { requests } from '../../protocol/messages.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import { newImportKeyPair } from '../keys/index.ts'
import type { KmsService } from '../service.ts'
import { describedKey, type Reply } from './key-answer.ts'
import { idOf, ownerAct, ownerRead, requireOwner } from './owner.ts'

/** Routes by which owners bring the material of their keys. */
export function importRoutes(app: FastifyInstance, service: KmsService): void {
  const { imports } = service.keys

  app.post('/v1/keys/:id/import-parameters', async (request): Reply<'importParameters'> => {
    const keyId = idOf(request, cmkId)
    const body = parseAs('request', requests.importParameters, request.body)
    const { wrappingAlgorithm: algorithm = 'RSAES_OAEP_SHA_256', wrappingKeySpec = 'RSA_3072' } =
      body
    // The owner first, as a key pair takes its time; the transaction below looks again.
    await ownerRead(service, request, async (tx, owner) => {
      const key = await service.keys.get(tx, keyId)
      requireOwner(owner, key.owner)
      imports.requireAwaiting(key)
    })
    const pair = await newImportKeyPair(wrappingKeySpec)
    const details = { keyId, wrappingAlgorithm: algorithm, wrappingKeySpec }
    const { value } = await ownerAct(
      service,
      request,
      'get-import-parameters',
      details,
      async (tx, owner, act) => {
        requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
        return await imports.begin(tx, keyId, { algorithm, pair }, service.now())
      },
    ).finally(() => pair.material.fill(0))
    return {
      keyId,
      publicKey: pair.publicKey,
      importToken: toBase64Url(value.importToken),
      wrappingAlgorithm: algorithm,
      validTo: value.expiresAt.toISOString(),
    }
  })

  app.post('/v1/keys/:id/import', async (request): Reply<'key'> => {
    const keyId = idOf(request, cmkId)
    const body = parseAs('request', requests.importKeyMaterial, request.body)
    const brought = {
      importToken: fromBase64Url('import token', body.importToken),
      encryptedKeyMaterial: fromBase64Url('key material', body.encryptedKeyMaterial),
    }
    const details = { keyId }
    const { value } = await ownerAct(
      service,
      request,
      'import-key-material',
      details,
      async (tx, owner, act) => {
        requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
        const key = await imports.finish(tx, keyId, brought, service.now())
        return await describedKey(service, tx, key)
      },
    )
    return value
  })
}
