import type { Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { type answers, type PolicyDescription, requests } from '../../protocol/messages.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import type { StoredPolicy } from '../policy/index.ts'
import type { KmsService } from '../service.ts'
import { idOf, ownerAct, ownerRead, requireOwner } from './owner.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** Routes of release policies. */
export function policyRoutes(app: FastifyInstance, service: KmsService): void {
  app.post('/v1/policies', async (request): Reply<'policy'> => {
    const body = parseAs('request', requests.addPolicy, request.body)
    const { keyId, measurement, tees, tcbStatuses } = body
    const job =
      'jobDigest' in body
        ? ({ kind: 'digest', jobDigest: body.jobDigest } as const)
        : ({ kind: 'any' } as const)
    const details = { keyId, measurement, job: job.kind, tees, tcbStatuses }
    const { value } = await ownerAct(
      service,
      request,
      'add-policy',
      details,
      async (tx, owner, act) => {
        requireOwner(owner, (await service.keys.get(tx, keyId)).owner, act)
        const at = service.now()
        const policy = { owner, keyId, measurement, job, tees, tcbStatuses, at }
        const added = await service.policies.add(tx, policy)
        act.details['policyId'] = added.policyId
        return added
      },
    )
    return policyJson(value)
  })

  app.get('/v1/policies', async (request): Reply<'policies'> => {
    const found = await ownerRead(service, request, (tx, owner) => service.policies.list(tx, owner))
    return { policies: found.map(policyJson) }
  })

  app.post('/v1/policies/:id/remove', async (request): Reply<'removed'> => {
    const policyId = idOf(request, cmkId)
    await ownerAct(service, request, 'remove-policy', { policyId }, async (tx, owner) => {
      const own = await service.policies.list(tx, owner)
      if (!own.some(policy => policy.policyId === policyId)) {
        throw new KmsError('NOT_FOUND', `the account has no policy ${policyId}`)
      }
      await service.policies.remove(tx, policyId)
    })
    return { policyId }
  })
}

function policyJson({ policyId, keyId, cedar, createdAt }: StoredPolicy): PolicyDescription {
  return { policyId, keyId, cedar, createdAt }
}
