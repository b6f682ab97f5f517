import { request as httpsRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Static, TSchema } from '@sinclair/typebox'
import { isKmsErrorCode, KmsError } from '../protocol/errors.ts'
import { answers } from '../protocol/messages.ts'
import type { KmsPin } from '../protocol/pin.ts'
import { parseAs } from '../protocol/schema.ts'
import { KmsConnectionError } from './connection-error.ts'
import { type ClientCertificate, PinnedAgent } from './pinned-agent.ts'

/** Most bytes of an answer. */
const MAX_ANSWER_BYTES = 32 << 20

const MAX_ATTEMPTS = 5
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5000

/** One call. */
export interface Call<Answer extends TSchema> {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: object
  /** Sent as a bearer credential. */
  readonly credential?: string | undefined
  /** Whether it may be sent again when it may have been done already. */
  readonly idempotent: boolean
  readonly answer: Answer
}

/** What came back. */
interface Answered {
  readonly status: number
  readonly body: Buffer
  /** For how long the service asks to be left alone. */
  readonly retryAfterMs: number | undefined
}

/** Sends calls to one pinned key service over connections that are kept open. */
export class Transport {
  readonly #agent: PinnedAgent
  readonly #url: URL
  readonly #timeoutMs: number
  readonly #sleep: (milliseconds: number) => Promise<unknown>

  constructor(
    pin: KmsPin,
    options: {
      readonly socketPath: string | undefined
      readonly timeoutMs: number
      readonly clientCertificate: ClientCertificate | undefined
      readonly sleep?: (milliseconds: number) => Promise<unknown>
    },
  ) {
    this.#agent = new PinnedAgent(pin, options.socketPath, options.clientCertificate)
    this.#url = new URL(pin.url)
    this.#timeoutMs = options.timeoutMs
    this.#sleep = options.sleep ?? (milliseconds => sleep(milliseconds))
  }

  /**
   * Sends a call. Sent again: what was refused for its rate, which was not done; where the call is
   * idempotent also after a broken connection, and when the service could not answer.
   * @throws KmsError what the key service refused
   * @throws KmsConnectionError
   */
  async send<Answer extends TSchema>(call: Call<Answer>): Promise<Static<Answer>> {
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#exchange(call).catch((error: unknown) => ({ error }))
      const again = attempt < MAX_ATTEMPTS && mayBeSentAgain(call, outcome)
      if (!again) return answerOf(call, outcome)
      const asked = 'error' in outcome ? undefined : outcome.retryAfterMs
      await this.#sleep(pauseAfter(attempt, asked))
    }
  }

  /** Closes the connections kept open. */
  close(): void {
    this.#agent.destroy()
  }

  #exchange(call: Call<TSchema>): Promise<Answered> {
    const sent = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body))
    return new Promise((resolve, reject) => {
      const request = httpsRequest({
        agent: this.#agent,
        host: this.#url.hostname,
        port: this.#url.port,
        method: call.method,
        path: call.path,
        signal: AbortSignal.timeout(this.#timeoutMs),
        headers: {
          accept: 'application/json',
          ...(call.credential === undefined ? {} : { authorization: `Bearer ${call.credential}` }),
          ...(sent === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': sent.length }),
        },
      })
      const fail = (cause: Error) => reject(exchangeErrorFrom(cause))
      request.once('error', fail)
      request.once('response', response => {
        const chunks: Buffer[] = []
        let length = 0
        response.on('data', (chunk: Buffer) => {
          length += chunk.length
          chunks.push(chunk)
          if (length > MAX_ANSWER_BYTES) {
            response.destroy(new KmsConnectionError('ANSWER', 'the answer is too long'))
          }
        })
        response.once('error', fail)
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks),
            retryAfterMs: millisecondsOf(response.headers['retry-after']),
          }),
        )
      })
      request.end(sent)
    })
  }
}

type Outcome = Answered | { readonly error: unknown }

function mayBeSentAgain({ idempotent }: Call<TSchema>, outcome: Outcome): boolean {
  if (!('error' in outcome)) return outcome.status === 429 || (outcome.status === 503 && idempotent)
  const { error } = outcome
  const isBroken =
    error instanceof KmsConnectionError &&
    (error.code === 'UNREACHABLE' || error.code === 'TIMEOUT')
  return isBroken && idempotent
}

/**
 * Random between nothing and a limit that doubles each time (full jitter), so that many clients do not
 * come back at once; after the time that the service asked for.
 */
function pauseAfter(attempt: number, askedMs = 0): number {
  const limit = Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS)
  return Math.min(askedMs, LONGEST_PAUSE_MS) + Math.random() * limit
}

function millisecondsOf(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : undefined
}

function answerOf<Answer extends TSchema>(call: Call<Answer>, outcome: Outcome): Static<Answer> {
  if ('error' in outcome) throw outcome.error
  const value = parseJson(outcome.body)
  if (outcome.status !== 200) throw refusalFrom(outcome.status, value)
  return answerAs(call.answer, value)
}

function exchangeErrorFrom(cause: Error): KmsConnectionError {
  if (cause instanceof KmsConnectionError) return cause
  return cause.name === 'AbortError' || cause.name === 'TimeoutError'
    ? new KmsConnectionError('TIMEOUT', 'the key service did not answer in time', { cause })
    : new KmsConnectionError('UNREACHABLE', 'the connection to the key service broke', { cause })
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch (cause) {
    throw new KmsConnectionError('ANSWER', 'the answer is not JSON', { cause })
  }
}

function answerAs<Answer extends TSchema>(schema: Answer, value: unknown): Static<Answer> {
  try {
    return parseAs('answer', schema, value)
  } catch (cause) {
    throw new KmsConnectionError('ANSWER', 'the answer is not what the protocol says', { cause })
  }
}

function refusalFrom(status: number, value: unknown): Error {
  const { code, message, reasons } = answerAs(answers.error, value)
  return isKmsErrorCode(code)
    ? new KmsError(code, message, { reasons })
    : new KmsConnectionError('ANSWER', `status ${status} with unknown code ${code}`)
}
