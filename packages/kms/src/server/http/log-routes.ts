import type { Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { toBase64Url } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import type { answers } from '../../protocol/messages.ts'
import { logStatement, signCheckpoint } from '../audit/index.ts'
import type { KmsService } from '../service.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** Routes of the audit log, for whoever follows it: they tell its size and root, and no row. */
export function logRoutes(app: FastifyInstance, service: KmsService): void {
  const { audit, store } = service
  const logKey = logStatement(service)

  app.get('/v1/log', async (request): Reply<'log'> => {
    const from = wholeNumber(request, 'from', 0)
    const { consistency, state } = await store.read(async tx => {
      const state = await audit.root(tx)
      // A log that shrank says so with its signature: that is evidence.
      const first = Math.min(from, state.size)
      return { state, consistency: await audit.consistencyProof(tx, first, state.size) }
    })
    return {
      logKey: await logKey,
      checkpoint: signCheckpoint(state, service.logKey),
      consistency: consistency.map(toBase64Url),
    }
  })
}

/** A number from the query; `fallback` where it is not there. @throws KmsError MALFORMED */
export function wholeNumber(request: FastifyRequest, name: string, fallback: number): number {
  const given = { ...(request.query as Record<string, unknown>) }[name] ?? String(fallback)
  if (typeof given !== 'string' || !/^\d{1,15}$/.test(given)) {
    throw new KmsError('MALFORMED', `${name} is a whole number of at most 15 digits`)
  }
  return Number(given)
}
