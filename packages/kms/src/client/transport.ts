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

const MAX_ATTEMPTS = 3
const FIRST_PAUSE_MS = 100

/** One call. */
export interface Call<Answer extends TSchema> {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: object
  /** Sent as a bearer credential. */
  readonly credential?: string | undefined
  /** Whether it may be sent again after a broken connection. */
  readonly idempotent: boolean
  readonly answer: Answer
}

/** Sends calls to one pinned key service over connections that are kept open. */
export class Transport {
  readonly #agent: PinnedAgent
  readonly #url: URL
  readonly #timeoutMs: number

  constructor(
    pin: KmsPin,
    options: {
      readonly socketPath: string | undefined
      readonly timeoutMs: number
      readonly clientCertificate: ClientCertificate | undefined
    },
  ) {
    this.#agent = new PinnedAgent(pin, options.socketPath, options.clientCertificate)
    this.#url = new URL(pin.url)
    this.#timeoutMs = options.timeoutMs
  }

  /**
   * Sends a call, again if it may be and the connection broke.
   * @throws KmsError what the key service refused
   * @throws KmsConnectionError
   */
  async send<Answer extends TSchema>(call: Call<Answer>): Promise<Static<Answer>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(call)
      } catch (error) {
        const isBroken =
          error instanceof KmsConnectionError &&
          (error.code === 'UNREACHABLE' || error.code === 'TIMEOUT')
        if (!isBroken || !call.idempotent || attempt >= MAX_ATTEMPTS) throw error
      }
      await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1))
    }
  }

  /** Closes the connections kept open. */
  close(): void {
    this.#agent.destroy()
  }

  async #once<Answer extends TSchema>(call: Call<Answer>): Promise<Static<Answer>> {
    const { status, body } = await this.#exchange(call)
    const value = parseJson(body)
    if (status !== 200) throw refusalFrom(status, value)
    return answerAs(call.answer, value)
  }

  #exchange(call: Call<TSchema>): Promise<{ status: number; body: Buffer }> {
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
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }),
        )
      })
      request.end(sent)
    })
  }
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
