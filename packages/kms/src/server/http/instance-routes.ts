import { type PublicSigningJwk, signingJwk } from '@cloister/attestation'
import type { Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type answers, requests } from '../../protocol/messages.ts'
import { parseAs } from '../../protocol/schema.ts'
import { attest } from '../attest/attest.ts'
import { commitHeads } from '../release/heads.ts'
import { release } from '../release/release.ts'
import type { KmsService } from '../service.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

const MIB = 1 << 20

/** Routes of instances: what they say is believed for their evidence, not for a credential. */
export function instanceRoutes(app: FastifyInstance, service: KmsService): void {
  app.get('/v1/kms', async (): Reply<'kms'> => {
    const { kmsId, identityKey } = service.identity
    return { kmsId, identityKey }
  })

  // Both places where others look for the keys that tokens are signed with.
  for (const path of ['/v1/jwks', '/.well-known/jwks.json']) {
    app.get(path, async (): Promise<{ readonly keys: readonly PublicSigningJwk[] }> => {
      return { keys: [signingJwk(service.identity.privateKey)] }
    })
  }

  app.post('/v1/challenge', async (request): Reply<'challenge'> => {
    parseAs('request', requests.challenge, request.body)
    const at = service.now()
    service.outstanding.issued(at)
    return { challenge: service.challenges.issue(at) }
  })

  /**
   * Read of addresses alone that have not just sent much that proved nothing. What is no longer than
   * anything else may be is looked at: an instance is not held up by what others do at its address.
   */
  const longBody = (mebibytes: number) => ({
    bodyLimit: mebibytes * MIB,
    onRequest: async (request: FastifyRequest) => {
      const { 'content-length': length } = request.headers
      if (length !== undefined && Number(length) <= MIB) return
      const limited = service.limits.spent(request)
      if (limited !== undefined) throw limited
    },
  })

  // A job statement of 1 MiB in its canonical form may be longer with other escapes.
  app.post('/v1/attest', longBody(3), async (request): Reply<'attest'> => {
    return await attest(service, parseAs('request', requests.attest, request.body))
  })

  app.post('/v1/release', longBody(9), async (request): Reply<'statement'> => {
    const { jws } = parseAs('request', requests.signed, request.body)
    return { statement: await release(service, jws) }
  })

  app.post('/v1/heads', longBody(9), async (request): Reply<'statement'> => {
    const { jws } = parseAs('request', requests.signed, request.body)
    return { statement: await commitHeads(service, jws) }
  })
}
