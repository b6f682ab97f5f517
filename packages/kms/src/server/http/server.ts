import type { Socket } from 'node:net'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { KmsError, type KmsErrorCode } from '../../protocol/errors.ts'
import { deniedUnproven, refusalFrom } from '../acts.ts'
import { EHSM_PATH, type Ehsm, ehsmRoutes, isEhsmPath } from '../ehsm/index.ts'
import type { TlsCredentials } from '../identity/kms-identity.ts'
import type { KmsService } from '../service.ts'
import { accountRoutes } from './account-routes.ts'
import { aliasRoutes } from './alias-routes.ts'
import { secureContextOf } from './client-certificate.ts'
import { credentialRoutes } from './credential-routes.ts'
import { dataRoutes } from './data-routes.ts'
import { datasetRoutes } from './dataset-routes.ts'
import { dekRoutes } from './dek-routes.ts'
import { grantRoutes } from './grant-routes.ts'
import { importRoutes } from './import-routes.ts'
import { instanceRoutes } from './instance-routes.ts'
import { keyRoutes } from './key-routes.ts'
import { type EventLog, errorChain } from './log.ts'
import { logRoutes } from './log-routes.ts'
import { openApiRoute } from './openapi.ts'
import { operatorRoutes } from './operator-routes.ts'
import { CallerRefused } from './owner.ts'
import { policyRoutes } from './policy-routes.ts'
import { withdrawalRoutes } from './withdrawal-routes.ts'

/** Limits of connections, in milliseconds. */
export interface HttpLimits {
  /** Until a request must have come in whole. */
  readonly requestTimeoutMs: number
  /** For which an idle connection is kept. */
  readonly keepAliveTimeoutMs: number
}

const BODY_LIMIT = 1 << 20

/** Makes the HTTPS server: routes, one envelope for every refusal, one log event a request. */
export function createHttpServer(
  service: KmsService,
  ehsm: Ehsm,
  tls: TlsCredentials,
  limits: HttpLimits,
  log: EventLog,
): FastifyInstance {
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
    // An alias of 128 characters, each escaped, after its prefix.
    routerOptions: { maxParamLength: 512 },
    return503OnClosing: true,
    forceCloseConnections: 'idle',
    clientErrorHandler: answerBrokenRequest,
    rewriteUrl: request => rewritten(request.url ?? '/'),
  }) as unknown as FastifyInstance
  app.setErrorHandler(async (error: FastifyError | Error, request, reply) => {
    if (error instanceof CallerRefused) await error.count(service)
    const { url: route = '' } = request.routeOptions
    const refusal = deniedUnproven(service, `${request.method} ${route}`, refusalOf(error))
    const failed = refusal.status >= 500
    log.write(failed ? 'failed' : 'refused', {
      method: request.method,
      route,
      code: refusal.code,
      reasons: refusal.reasons.map(({ code }) => code),
      // Not told to whoever asked: only the operator sees what broke.
      ...(failed ? { causes: errorChain(error) } : {}),
    })
    return reply.status(refusal.status).send(envelopeOf(refusal))
  })
  app.setNotFoundHandler((_request, reply) => {
    const refusal = new KmsError('NOT_FOUND', 'there is no such route')
    return reply.status(refusal.status).send(envelopeOf(refusal))
  })
  app.addHook('onResponse', (request, reply, done) => {
    log.write('request', {
      method: request.method,
      route: request.routeOptions.url ?? '',
      status: reply.statusCode,
      milliseconds: Math.round(reply.elapsedTime * 10) / 10,
    })
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    reply.header('cache-control', 'no-store')
    done()
  })
  openApiRoute(app)
  operatorRoutes(app, service)
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
  return app
}

/** Clients of eHSM write its path with and without a slash at the end, and in any case. */
function rewritten(url: string): string {
  const at = url.indexOf('?')
  const path = at < 0 ? url : url.slice(0, at)
  return isEhsmPath(path) ? EHSM_PATH + url.slice(path.length) : url
}

/** What every refusal looks like on the wire. */
function envelopeOf({ code, message, reasons }: KmsError): object {
  return { code, message, reasons }
}

/** Status codes of the framework's own errors, as codes of ours. */
const FRAMEWORK_CODES: Readonly<Record<number, KmsErrorCode>> = {
  400: 'MALFORMED',
  408: 'TIMEOUT',
  413: 'TOO_LARGE',
  415: 'MALFORMED',
  503: 'UNAVAILABLE',
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
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}
