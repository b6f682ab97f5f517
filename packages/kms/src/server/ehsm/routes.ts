import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { refusalFrom } from '../acts.ts'
import type { EventLog } from '../http/log.ts'
import { errorChain, plainRoute, plainUuid } from '../http/log.ts'
import { RateLimited } from '../http/rate-limits.ts'
import { ACTIONS } from './actions/index.ts'
import { auditDenial } from './acts.ts'
import { authenticate } from './authenticate.ts'
import type { Ehsm } from './ehsm.ts'
import { enroll } from './enroll.ts'
import { useOf } from './replays.ts'
import { EhsmRefusal, refused } from './wire/refusal.ts'
import { parseRequest } from './wire/request.ts'

/** The one path; the server rewrites its other spellings to it. */
export const EHSM_PATH = '/ehsm'

/** What clients of eHSM send at most. */
const BODY_LIMIT = 100 * 1024

/** The version of eHSM whose behaviour this is. */
const VERSION = { version: '0.4.0', git_sha: 'cloister' } as const

const OPEN_KEYS_NEEDED =
  'keys that an API key alone gives the use of are not allowed at this key service (--ehsm-open-keys)'

interface Envelope {
  readonly code: number
  readonly message?: string
  readonly result: object
}

/** An answer, with what the metrics and the transport are told beside. */
interface Refused extends Envelope {
  readonly reason?: string
  readonly retryAfterSeconds?: number
}

/** Spellings of the path that clients use, with and without a slash at the end, in any case. */
export function isEhsmPath(path: string): boolean {
  return /^\/ehsm\/?$/i.test(path)
}

/** The eHSM-compatible interface: HTTP 200 for whatever it answers, the outcome in the envelope. */
export function ehsmRoutes(app: FastifyInstance, ehsm: Ehsm, log: EventLog): void {
  app.register(async scope => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit: BODY_LIMIT }, parseBody)
    scope.setErrorHandler((error, request, reply) => {
      const status = statusOf(error)
      // A body that is too large, or late, is no matter of the interface: as with upstream.
      if (status !== undefined && status !== 400) {
        ehsm.service.limits.countUnproven(request)
        request.outcome = {
          ...request.outcome,
          action: `ehsm.${logged(request)}`,
          code: `${status}`,
        }
        return reply.status(status).send()
      }
      return answer(request, reply, refusedWith(ehsm, error, log, request), log)
    })
    scope.get(EHSM_PATH, async (request, reply) => {
      return answer(request, reply, await settled(ehsm, asked(ehsm, request), log, request), log)
    })
    scope.post(EHSM_PATH, { bodyLimit: BODY_LIMIT }, async (request, reply) => {
      return answer(request, reply, await settled(ehsm, acted(ehsm, request), log, request), log)
    })
  })
}

function parseBody(
  _request: unknown,
  body: string | Buffer,
  done: (error: Error | null, value?: unknown) => void,
): void {
  try {
    done(null, body.length === 0 ? {} : JSON.parse(body.toString()))
  } catch {
    done(refused('Invalid JSON'))
  }
}

/** Calls without a signature. */
async function asked(ehsm: Ehsm, request: FastifyRequest): Promise<Envelope> {
  switch (actionOf(request)) {
    case 'GetVersion':
      return { code: 200, message: 'success!', result: VERSION }
    case 'Enroll':
      return { code: 200, message: 'successful', result: await enroll(ehsm, request) }
    default:
      throw refused('Missing required parameters')
  }
}

/** Calls with a signature: form, time, replay, fields, MAC, and then the work. */
async function acted(ehsm: Ehsm, request: FastifyRequest): Promise<Envelope> {
  const name = actionOf(request)
  if (name === 'GetVersion' || name === 'Enroll') return unsigned(ehsm, request, name)
  const action = ACTIONS.get(name)
  const { restoredAt } = ehsm.service
  const at = ehsm.service.now()
  const signed = parseRequest(request.body, action?.needsPayload ?? false, at, restoredAt)
  const use = useOf(signed)
  if (ehsm.replays.has(use)) throw repeated()
  const run = action?.prepare(signed.payload ?? {})
  const isRotation = name === 'RotateApiKey'
  // Of an address that only sends what is wrong, the database is not asked.
  const mayLookAgain = () => !ehsm.service.limits.hasSpent(request)
  const proven = await authenticate(ehsm, { ...signed, isRotation, mayLookAgain }, at)
  const { appId } = signed
  // Before it counts as used: what is refused for its rate may be sent again.
  ehsm.service.limits.countFor(request, `ehsm:${appId}`)
  if (proven.account.state === 'disabled') {
    // Counted and not audited one by one: whoever has the key could fill the log with it.
    await ehsm.service.tally.used({ actor: `ehsm:${appId}`, action: 'ACCOUNT_DISABLED' })
    throw refused('the account is disabled', 'ACCOUNT_DISABLED')
  }
  if (!(await ehsm.replays.take(use))) throw repeated()
  // A rotation says as much itself.
  if (proven.account.isUnused && proven.by === 'present-key' && !isRotation) {
    await ehsm.service.store.write(tx => ehsm.accounts.noteUsed(tx, proven.account))
  }
  try {
    if (action === undefined || run === undefined) throw notFound()
    if (action.usesOpenKeys && ehsm.options.openKeys !== true) {
      throw refused(OPEN_KEYS_NEEDED, 'OPEN_KEYS_NOT_ALLOWED')
    }
    const reply = await run({ ...proven, ehsm, appId, at })
    await ehsm.service.tally.used({ actor: `ehsm:${appId}`, action: `ehsm.${name}` })
    return { code: 200, ...reply }
  } catch (error) {
    if (error instanceof EhsmRefusal && error.denial !== undefined) {
      await auditDenial(ehsm.service, { appId, action: name, at }, error)
    }
    throw error
  }
}

/** What exists for GET only: told without a look at what came with it. */
function unsigned({ service }: Ehsm, request: FastifyRequest, name: string): Envelope {
  const limited = service.limits.countUnproven(request)
  if (limited !== undefined) throw limited
  const reasons = [{ code: 'EHSM_404', message: NOT_FOUND.message }] as const
  service.tally.denied({ action: `ehsm.${name}`, reasons })
  return NOT_FOUND
}

const NOT_FOUND = { code: 404, message: 'API Not Found', result: {} } as const

const notFound = () => new EhsmRefusal(404, 'API Not Found')
const repeated = () => refused("Timestamp can't be repeated in 20 minutes")

/** The action asked for; one that is named twice is none. */
function actionOf({ query }: FastifyRequest): string {
  const { Action } = { Action: '', ...(query as Record<string, unknown>) }
  return typeof Action === 'string' ? Action : ''
}

async function settled(
  ehsm: Ehsm,
  work: Promise<Envelope>,
  log: EventLog,
  request: FastifyRequest,
): Promise<Refused> {
  return await work.catch((error: unknown) => refusedWith(ehsm, error, log, request))
}

function refusedWith(ehsm: Ehsm, error: unknown, log: EventLog, request: FastifyRequest): Refused {
  const limited = limitedFor(ehsm, error, request)
  if (limited !== undefined) {
    const { message, retryAfterSeconds } = limited
    return { code: 429, message, result: {}, reason: limited.code, retryAfterSeconds }
  }
  if (error instanceof EhsmRefusal) {
    const { envelopeCode: code, sent } = error
    if (error.denial === undefined) {
      const reasons = [{ code: error.code, message: error.message }] as const
      ehsm.service.tally.denied({ action: `ehsm.${logged(request)}`, reasons })
    }
    const reason = error.denial ?? error.code
    return { code, ...(sent === undefined ? {} : { message: sent }), result: {}, reason }
  }
  if (statusOf(error) === 400) return { code: 400, message: 'Invalid JSON', result: {} }
  const refusal = refusalFrom(error)
  // Not told to whoever asked: only the operator sees what broke.
  log.write('failed', {
    requestId: plainUuid(request.id),
    route: EHSM_PATH,
    action: plainRoute(logged(request)),
    causes: errorChain(error),
  })
  const isStore = refusal.code === 'UNAVAILABLE' || refusal.code === 'INTEGRITY'
  const [code, message] = isStore ? [400, 'database error'] : [500, 'Server exception.']
  return { code, message, result: {} }
}

/** That a request is one too many: of its account, or as one more that went wrong of its address. */
function limitedFor(
  { service }: Ehsm,
  error: unknown,
  request: FastifyRequest,
): RateLimited | undefined {
  if (error instanceof RateLimited) return error
  return isMistake(error) ? service.limits.countUnproven(request) : undefined
}

const isMistake = (error: unknown) => error instanceof EhsmRefusal || statusOf(error) === 400

function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  { reason, retryAfterSeconds, ...envelope }: Refused,
  log: EventLog,
): FastifyReply {
  const action = logged(request)
  const { code } = envelope
  const reasons = reason === undefined ? [] : [reason]
  request.outcome = { action: `ehsm.${action}`, code: String(code), reasons }
  if (retryAfterSeconds === undefined) {
    log.write('ehsm', { requestId: plainUuid(request.id), action: plainRoute(action), code })
  } else reply.header('retry-after', retryAfterSeconds)
  return reply.status(200).send(envelope)
}

/** Only names that are known: what a client writes there is not for the log. */
function logged(request: FastifyRequest): string {
  const name = actionOf(request)
  return ACTIONS.has(name) || name === 'Enroll' || name === 'GetVersion' ? name : 'unknown'
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined
  return typeof error.statusCode === 'number' ? error.statusCode : undefined
}
