import type { Static } from '@sinclair/typebox'
import type { answers } from '../protocol/messages.ts'
import type { Transport } from './transport.ts'

type AnyAnswer = (typeof answers)[keyof typeof answers]

/** Calls by one credential over one transport. */
export class Calls {
  readonly #transport: Transport
  readonly #credential: string | undefined

  constructor(transport: Transport, credential: string | undefined) {
    this.#transport = transport
    this.#credential = credential
  }

  /** Asks for something; sent again when the connection broke. */
  async get<Answer extends AnyAnswer>(path: string, answer: Answer): Promise<Static<Answer>> {
    const credential = this.#credential
    return await this.#transport.send({ method: 'GET', path, credential, idempotent: true, answer })
  }

  /** Has something done. @param idempotent - Whether it may be sent again when the connection broke */
  async post<Answer extends AnyAnswer>(
    path: string,
    body: object,
    answer: Answer,
    idempotent = false,
  ): Promise<Static<Answer>> {
    const credential = this.#credential
    return await this.#transport.send({
      method: 'POST',
      path,
      body,
      credential,
      idempotent,
      answer,
    })
  }
}
