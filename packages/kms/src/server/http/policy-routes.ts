import type { FastifyInstance } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import {
  type NewPolicy,
  type PolicyDescription,
  policyForms,
  type ReleaseTemplate,
} from '../../protocol/messages/policies.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import { effectOf, type Policy, tryCedar } from '../policy/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { Reply } from './key-answer.ts'
import { requireKey } from './needs.ts'
import { idOf, ownerAct, ownerRead, requireOwner } from './owner.ts'

/** Routes of release policies. */
export function policyRoutes(app: FastifyInstance, service: KmsService): void {
  app.post('/v1/policies', async (request): Reply<'policy'> => {
    const body = newPolicyFrom(request.body)
    // Nobody has a text looked at who may not add it.
    await ownerRead(service, request, async () => undefined)
    const asked = 'cedar' in body ? await textOf(body) : templateOf(body)
    const { value } = await ownerAct(
      service,
      request,
      'add-policy',
      { keyId: asked.keyId, ...asked.details },
      async (tx, owner, act, caller) => {
        requireKey(caller, asked.keyId)
        requireOwner(owner, (await service.keys.get(tx, asked.keyId)).owner, act)
        const stored = { owner, at: service.now() }
        const added =
          'tried' in asked
            ? await service.policies.addText(tx, asked.tried, stored)
            : await service.policies.add(tx, asked.template, stored)
        act.details['policyId'] = added.policyId
        return await policyJson(service, tx, added)
      },
    )
    return value
  })

  app.get('/v1/policies', async (request): Reply<'policies'> => {
    const policies = await ownerRead(service, request, async (tx, owner, { credential }) => {
      const { keyIds } = credential
      const own = await service.policies.list(tx, owner)
      const told: PolicyDescription[] = []
      for (const policy of own) {
        if (keyIds !== null && !keyIds.includes(policy.keyId)) continue
        told.push(await policyJson(service, tx, policy))
      }
      return told
    })
    return { policies }
  })

  app.post('/v1/policies/:id/remove', async (request): Reply<'removed'> => {
    const policyId = idOf(request, cmkId)
    const details = { policyId }
    await ownerAct(service, request, 'remove-policy', details, async (tx, owner, act, caller) => {
      const own = await service.policies.list(tx, owner)
      const found = own.find(policy => policy.policyId === policyId)
      if (found === undefined) {
        throw new KmsError('NOT_FOUND', `the account has no policy ${policyId}`)
      }
      act.details['keyId'] = found.keyId
      requireKey(caller, found.keyId)
      await service.policies.remove(tx, policyId)
    })
    return { policyId }
  })
}

/** Read as the one form that it looks like, so that what is wrong with it can be named. */
function newPolicyFrom(body: unknown): NewPolicy {
  const has = (name: string) =>
    typeof body === 'object' && body !== null && Object.hasOwn(body, name)
  const form = (['template', 'cedar', 'allowAnyJob'] as const).find(has) ?? 'jobDigest'
  return parseAs('request', policyForms[form], body)
}

/** A policy that is given as text. @throws PolicyError POLICY_INVALID; KmsError MALFORMED */
async function textOf({ allowAnyJob, cedar }: Extract<NewPolicy, { cedar: string }>) {
  const tried = await tryCedar(cedar)
  const { effect, keyId, namesJob } = tried
  if (effect === 'permit' && !namesJob && allowAnyJob !== true) {
    throw new KmsError(
      'MALFORMED',
      'the policy permits any job: its conditions name no job digest and no job template; say allowAnyJob where that is meant',
    )
  }
  return { tried, keyId, details: { effect, anyJob: effect === 'permit' && !namesJob } }
}

/** A policy that is given as a template, also in its oldest form. */
function templateOf(body: Exclude<NewPolicy, { cedar: string }>) {
  const template: ReleaseTemplate = 'template' in body ? body.template : ofOldForm(body)
  const { allowAnyJob = false, keyId, tcbStatuses, tees } = template
  const images = template.images.map(rule => ({ ...rule }))
  return { template, keyId, details: { images, anyJob: allowAnyJob, tees, tcbStatuses } }
}

function ofOldForm(
  body: Exclude<NewPolicy, { cedar: string } | { template: ReleaseTemplate }>,
): ReleaseTemplate {
  const { measurement, ...rest } = body
  const images = [{ measurement }]
  if (!('jobDigest' in rest)) return { ...rest, images }
  const { jobDigest, ...others } = rest
  return { ...others, images, jobDigests: [jobDigest] }
}

async function policyJson(
  service: KmsService,
  tx: StoreTransaction,
  policy: Policy,
): Promise<PolicyDescription> {
  const { cedar, createdAt, keyId, policyId, source } = policy
  return {
    policyId,
    keyId,
    cedar,
    createdAt,
    effect: effectOf(policy),
    template: source.kind === 'template' ? source.template : null,
    releases: await service.policies.releasesBy(tx, policyId),
  }
}
