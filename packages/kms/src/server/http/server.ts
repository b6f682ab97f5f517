import type { Socket } from 'node:net'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify'
import { KmsError, type KmsErrorCode } from '../../protocol/errors.ts'
import { deniedUnproven, refusalFrom, wasProven } from '../acts.ts'
import { EHSM_PATH, type Ehsm, ehsmRoutes, isEhsmPath } from '../ehsm/index.ts'
import type { TlsCredentials } from '../identity/kms-identity.ts'
import type { Readiness } from '../observe/index.ts'
import type { KmsService } from '../service.ts'
import { accountRoutes } from './account-routes.ts'
import { aliasRoutes } from './alias-routes.ts'
import { secureContextOf } from './client-certificate.ts'
import { credentialRoutes } from './credential-routes.ts'
import { dataRoutes } from './data-routes.ts'
import { datasetRoutes } from './dataset-routes.ts'
import { dekRoutes } from './dek-routes.ts'
import { Draining } from './draining.ts'
import { envelopeOf } from './envelope.ts'
import { grantRoutes } from './grant-routes.ts'
import { healthRoutes } from './health-routes.ts'
import { importRoutes } from './import-routes.ts'
import { instanceRoutes } from './instance-routes.ts'
import { keyRoutes } from './key-routes.ts'
import { type EventLog, errorChain, plainCode, plainRoute, plainUuid } from './log.ts'
import { logRoutes } from './log-routes.ts'
import { newRequestId, observeRequests } from './observed.ts'
import { openApiRoute } from './openapi.ts'
import { operatorRoutes } from './operator-routes.ts'
import { CallerRefused } from './owner.ts'
import { policyRoutes } from './policy-routes.ts'
import { RateLimited } from './rate-limits.ts'
import { withdrawalRoutes } from './withdrawal-routes.ts'

/** Limits of connections, in milliseconds. */
export interface HttpLimits {
  /** Until a request must have come in whole. */
  readonly requestTimeoutMs: number
  /** For which an idle connection is kept. */
  readonly keepAliveTimeoutMs: number
  /** Addresses and networks whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[]
}

const BODY_LIMIT = 1 << 20

/** What serves, and what ends it. */
export interface HttpServer {
  readonly app: FastifyInstance
  readonly draining: Draining
}

/** Makes the HTTPS server: routes, one envelope for every refusal, one log event a request. */
export function createHttpServer(
  service: KmsService,
  ehsm: Ehsm,
  tls: TlsCredentials,
  limits: HttpLimits,
  readiness: Readiness,
  log: EventLog,
): HttpServer {
  const app = Fastify({
    https: {
      ...secureContextOf(tls, service.clientCas),
      // Asked for and not required: whoever presents one has shown to hold its key.
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: 10_000,
      headersTimeout: Math.min(10_000, limits.requestTimeoutMs),
      connectionsCheckingInterval: Math.min(1000, limits.requestTimeoutMs),
    },
    bodyLimit: BODY_LIMIT,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    maxRequestsPerSocket: 0,
    logger: false,
    genReqId: newRequestId,
    requestIdHeader: false,
    trustProxy: limits.trustedProxies.length > 0 ? [...limits.trustedProxies] : false,
    // An alias of 128 characters, each escaped, after its prefix.
    routerOptions: { maxParamLength: 512 },
    return503OnClosing: true,
    forceCloseConnections: 'idle',
    clientErrorHandler: answerBrokenRequest,
    rewriteUrl: request => rewritten(request.url ?? '/'),
  }) as unknown as FastifyInstance
  const draining = new Draining(app)
  observeRequests(app, { ...service, log, draining })
  app.setErrorHandler(async (error: FastifyError | Error, request, reply) => {
    if (error instanceof CallerRefused) await error.count(service)
    const refusal = refusalTo(request, service, error)
    const { code, reasons, status } = refusal
    request.outcome = { ...request.outcome, code, reasons: groundsOf(refusal) }
    if (refusal instanceof RateLimited) reply.header('retry-after', refusal.retryAfterSeconds)
    else {
      const failed = status >= 500
      const fields = {
        requestId: plainUuid(request.id),
        method: plainRoute(request.method),
        route: plainRoute(request.routeOptions.url ?? ''),
        code,
        reasons: reasons.map(reason => plainCode(reason.code)),
      }
      // Not told to whoever asked: only the operator sees what broke.
      if (failed) log.write('failed', { ...fields, causes: errorChain(error) })
      else log.write('refused', fields)
    }
    return reply.status(status).send(envelopeOf(refusal))
  })
  app.setNotFoundHandler((request, reply) => {
    const refusal = new KmsError('NOT_FOUND', 'there is no such route')
    request.outcome = { ...request.outcome, code: refusal.code }
    return reply.status(refusal.status).send(envelopeOf(refusal))
  })
  openApiRoute(app)
  healthRoutes(app, readiness)
  operatorRoutes(app, service, ehsm)
  accountRoutes(app, service)
  credentialRoutes(app, service)
  grantRoutes(app, service)
  keyRoutes(app, service)
  aliasRoutes(app, service)
  importRoutes(app, service)
  dekRoutes(app, service)
  dataRoutes(app, service)
  policyRoutes(app, service)
  withdrawalRoutes(app, service)
  datasetRoutes(app, service)
  instanceRoutes(app, service)
  logRoutes(app, service)
  ehsmRoutes(app, ehsm, log)
  return { app, draining }
}

/** Clients of eHSM write its path with and without a slash at the end, and in any case. */
function rewritten(url: string): string {
  const at = url.indexOf('?')
  const path = at < 0 ? url : url.slice(0, at)
  return isEhsmPath(path) ? EHSM_PATH + url.slice(path.length) : url
}

/** Status codes of the framework's own errors, as codes of ours. */
const FRAMEWORK_CODES: Readonly<Record<number, KmsErrorCode>> = {
  400: 'MALFORMED',
  408: 'TIMEOUT',
  413: 'TOO_LARGE',
  415: 'MALFORMED',
  503: 'UNAVAILABLE',
}

/**
 * What a request is refused with: what went wrong, or that its address has too much go wrong, of which
 * no log then tells each by itself.
 */
function refusalTo(request: FastifyRequest, service: KmsService, error: Error): KmsError {
  const refusal = refusalOf(error)
  if (refusal instanceof RateLimited) return refusal
  const isProven = refusal.status >= 500 || wasProven(refusal)
  const limited = isProven ? undefined : service.limits.countUnproven(request)
  const { url = '' } = request.routeOptions
  return limited ?? deniedUnproven(service, `${request.method} ${url}`, refusal)
}

/** The codes that a refusal is counted by. */
function groundsOf({ code, reasons, status }: KmsError): readonly string[] {
  if (status >= 500) return []
  return reasons.length === 0 ? [code] : reasons.map(reason => reason.code)
}

function refusalOf(error: FastifyError | Error): KmsError {
  const { code, statusCode } = { code: '', statusCode: 0, ...fieldsOf(error) }
  const ours = FRAMEWORK_CODES[statusCode]
  return code.startsWith('FST_') && ours !== undefined
    ? new KmsError(ours, error.message)
    : refusalOfBody(error)
}

/** The JSON parser's own complaint bears a status and no framework code. */
function refusalOfBody(error: Error): KmsError {
  const { statusCode } = { statusCode: 0, ...fieldsOf(error) }
  return error instanceof SyntaxError && statusCode === 400
    ? new KmsError('MALFORMED', 'the body is not JSON')
    : refusalFrom(error)
}

function fieldsOf(error: Error): { readonly code?: string; readonly statusCode?: number } {
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {}
  const status =
    'statusCode' in error && typeof error.statusCode === 'number'
      ? { statusCode: error.statusCode }
      : {}
  return { ...code, ...status }
}

/** Answers what the HTTP parser gave up on, a slow request above all. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const refusal = late
    ? new KmsError('TIMEOUT', 'the request did not come in whole in time')
    : new KmsError('MALFORMED', 'this is no HTTP request')
  const body = JSON.stringify(envelopeOf(refusal))
  const status = late ? '408 Request Timeout' : '400 Bad Request'
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nx-request-id: ${newRequestId()}\r\nconnection: close\r\n\r\n${body}`,
  )
}
