import type { FastifyInstance } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import type { Readiness, UnreadyReason } from '../observe/index.ts'
import { envelopeOf } from './envelope.ts'

const WORDS: Readonly<Record<UnreadyReason, string>> = {
  SHUTTING_DOWN: 'the key service was told to stop',
  ROOT_KEY: 'the root key is not open',
  DATABASE: 'the database does not answer',
  INTEGRITY: 'what is stored was altered behind the key service’s back',
  AUDIT_LOG: 'the audit log cannot be gone on with',
}

/** Whether the process answers, and whether it can serve: for whoever starts it and sends it requests. */
export function healthRoutes(app: FastifyInstance, readiness: Readiness): void {
  app.get('/healthz', async () => ({ alive: true }))

  app.get('/readyz', async (request, reply) => {
    const reasons = await readiness.reasons()
    if (reasons.length === 0) return { ready: true }
    const refusal = new KmsError('UNAVAILABLE', 'the key service is not ready', {
      reasons: reasons.map(code => ({ code, message: WORDS[code] })),
    })
    request.outcome = { ...request.outcome, code: refusal.code }
    return reply.status(refusal.status).send(envelopeOf(refusal))
  })
}
