import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { EHSM_PATH } from '../ehsm/index.ts'
import type { Metrics, Outcome } from '../observe/index.ts'
import type { Draining } from './draining.ts'
import { type EventLog, plainRoute, plainUuid } from './log.ts'
import { OPERATIONS } from './operations/index.ts'
import type { RateLimits } from './rate-limits.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** How it ends, as far as that is known. */
    outcome: Outcome
  }
}

/** Routes by which anybody causes work, before there is anything that proves who it is. */
const UNPROVEN: ReadonlySet<string> = new Set([
  `GET ${EHSM_PATH}`,
  ...OPERATIONS.filter(({ access, id, tag }) => {
    return tag !== 'health' && (access === 'anyone' || id === 'Attest')
  }).map(({ method, path }) => `${method} ${path}`),
])

const ACTIONS: ReadonlyMap<string, string> = new Map(
  OPERATIONS.map(({ id, method, path }) => [`${method} ${path}`, id]),
)

/** How a request ends that was one too many: in this interface, and in eHSM's. */
const LIMITED: ReadonlySet<string> = new Set(['RATE_LIMITED', '429'])

const START: Outcome = { action: 'unknown', code: 'OK', reasons: [] }

/** The id of a new request, made here: what a client sends as one means nothing. */
export const newRequestId = (): string => randomUUID()

/**
 * Has each request get an id, that its answer and the log bear; be counted; and be refused before any
 * work where anybody may ask and its address asks too often.
 */
export function observeRequests(
  app: FastifyInstance,
  parts: {
    readonly log: EventLog
    readonly metrics: Metrics
    readonly limits: RateLimits
    readonly draining: Draining
  },
): void {
  const { draining, limits, log, metrics } = parts
  app.decorateRequest('outcome')
  app.decorateRequest('isCounted', false)
  app.addHook('onRequest', (request, _reply, done) => {
    const route = routeOf(request)
    request.outcome = { ...START, action: ACTIONS.get(route) ?? 'unknown' }
    const isUnproven = UNPROVEN.has(route) || request.is404
    done(isUnproven ? limits.countUnproven(request) : undefined)
  })
  app.addHook('onSend', (request, reply, _payload, done) => {
    reply.header('cache-control', 'no-store')
    reply.header('x-request-id', request.id)
    if (draining.isDraining) reply.header('connection', 'close')
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    const { outcome } = request
    metrics.answered(outcome, reply.elapsedTime / 1000)
    // Of a flood the log has a number, and no lines.
    if (!LIMITED.has(outcome.code)) {
      log.write('request', {
        requestId: plainUuid(request.id),
        method: plainRoute(request.method),
        route: plainRoute(request.routeOptions.url ?? ''),
        status: reply.statusCode,
        milliseconds: Math.round(reply.elapsedTime * 10) / 10,
      })
    }
    done()
  })
}

/** A HEAD is the GET of the same route. */
function routeOf({ method, routeOptions }: FastifyRequest): string {
  return `${method === 'HEAD' ? 'GET' : method} ${routeOptions.url}`
}
