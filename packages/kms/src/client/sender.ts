import type { Static } from '@sinclair/typebox'
import type { answers } from '../protocol/messages.ts'
import type { Transport } from './transport.ts'

/** What a body of an answer may be. */
export type Answer = (typeof answers)[keyof typeof answers]

/** Sends by one credential over one transport. */
export class Sender {
  readonly #transport: Transport
  readonly #credential: string | undefined

  constructor(transport: Transport, credential: string | undefined) {
    this.#transport = transport
    this.#credential = credential
  }

  /** Asks for something; sent again when the connection broke. */
  async get<A extends Answer>(path: string, answer: A): Promise<Static<A>> {
    const credential = this.#credential
    return await this.#transport.send({ method: 'GET', path, credential, idempotent: true, answer })
  }

  /** Has something done. @param idempotent - Whether it may be sent again when the connection broke */
  async post<A extends Answer>(
    path: string,
    body: object,
    answer: A,
    idempotent = false,
  ): Promise<Static<A>> {
    const credential = this.#credential
    const call = { method: 'POST', path, body, credential, idempotent, answer } as const
    return await this.#transport.send(call)
  }
}
