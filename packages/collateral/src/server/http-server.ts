import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { jsonAnswer } from './answers.ts'
import { PCCS_STATUS, PccsError, type PccsErrorCode, refusalOf } from './pccs-error.ts'
import { administrationRoutes } from './routes/administration.ts'
import { documentRoutes, send } from './routes/documents.ts'
import { platformRoutes } from './routes/platforms.ts'
import type { PccsService } from './service.ts'

/** A certificate for TLS and its key, both PEM. */
export interface TlsCredentials {
  readonly key: string
  readonly cert: string
}

const BODY_LIMIT = 64 * 1024
const REQUEST_TIMEOUT_MS = 60_000
const KEEP_ALIVE_MS = 60_000
const MOST_CONNECTIONS = 4096

/** Makes the server: routes, one envelope for every refusal. Without TLS it speaks plain HTTP. */
export function createPccsServer(
  service: PccsService,
  tls: TlsCredentials | undefined,
): FastifyInstance {
  const timeouts = { headersTimeout: 10_000, connectionsCheckingInterval: 1000 }
  const options = {
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: 0,
    logger: false,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
    clientErrorHandler: answerBrokenRequest,
  } as const
  const app = (tls === undefined
    ? Fastify({ ...options, http: timeouts })
    : Fastify({
        ...options,
        https: { ...timeouts, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: 10_000 },
      })) as unknown as FastifyInstance
  app.server.maxConnections = MOST_CONNECTIONS
  takeEmptyBodies(app)
  app.addHook('onRequest', (_request, reply, done) => {
    // Clients of Intel's service look for it.
    reply.header('Request-ID', randomUUID().replaceAll('-', ''))
    done()
  })
  app.addHook('onResponse', (_request, reply, done) => {
    service.counters.count(reply.statusCode)
    done()
  })
  app.setErrorHandler((error: FastifyError | Error, request, reply) => {
    const refusal = ofFramework(error) ?? refusalOf(error)
    if (refusal.status >= 500 || refusal.status === 401 || refusal.code === 'INTEGRITY') {
      const { url: route = '' } = request.routeOptions
      const { code, reasons } = refusal
      service.log.write('refused', { method: request.method, route, code, reasons, ...why(error) })
    }
    if (refusal.status === 503 || refusal.status === 429) reply.header('Retry-After', '5')
    // Which upstreams there are, and how they fail, is for whoever runs the service.
    const isAdmin = service.adminToken.isShown(request.headers['admin-token'])
    return reply.status(refusal.status).send(envelopeOf(refusal, isAdmin))
  })
  app.setNotFoundHandler((_request, reply) =>
    reply
      .status(PCCS_STATUS.NOT_FOUND)
      .send(envelopeOf(new PccsError('NOT_FOUND', 'there is no such route'))),
  )
  const alive = jsonAnswer({ status: 'UP' })
  app.get('/health/live', (_request, reply) => send(reply, alive))
  app.get('/health/ready', async () => ({ status: 'UP', mode: service.mode }))
  documentRoutes(app, service)
  platformRoutes(app, service)
  administrationRoutes(app, service)
  return app
}

/** Clients say that they send JSON where they send nothing. */
function takeEmptyBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null)
    else void parse(request, String(body), done)
  })
}

/** What every refusal looks like on the wire. */
function envelopeOf({ code, message, reasons }: PccsError, isAdmin = false): object {
  return { code, message, reasons: isAdmin ? reasons : [] }
}

/** Only the operator sees what broke. */
function why(error: Error): object {
  const cause = error instanceof PccsError ? error.cause : error
  return cause instanceof Error && !('code' in error) ? { cause: String(cause) } : {}
}

/** Status codes of the framework's own errors, as codes of ours. */
const FRAMEWORK_CODES: Readonly<Record<number, PccsErrorCode>> = {
  400: 'INVALID_REQUEST',
  408: 'TIMEOUT',
  413: 'TOO_LARGE',
  414: 'INVALID_REQUEST',
  415: 'INVALID_REQUEST',
  503: 'UNAVAILABLE',
}

function ofFramework(error: Error): PccsError | undefined {
  const status =
    'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 0
  const code = FRAMEWORK_CODES[status]
  if (code === undefined) return undefined
  const message = error instanceof SyntaxError ? 'the body is not JSON' : error.message
  return new PccsError(code, message)
}

/** Answers what the HTTP parser gave up on, a slow request above all. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const refusal = late
    ? new PccsError('TIMEOUT', 'the request did not come in whole in time')
    : new PccsError('INVALID_REQUEST', 'this is no HTTP request')
  const body = JSON.stringify(envelopeOf(refusal))
  const status = late ? '408 Request Timeout' : '400 Bad Request'
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}
