import type { Static } from '@sinclair/typebox'
import type { answers } from '../protocol/messages.ts'
import { type KmsPin, parseKmsPin } from '../protocol/pin.ts'
import { Transport } from './transport.ts'

/** Options of a client. */
export interface KmsClientOptions {
  /** The account's, for calls that an owner makes. */
  readonly credential?: string
  /** A Unix socket to connect to in place of the pin's host and port. */
  readonly socketPath?: string
  /** Milliseconds until a call must be answered; 30,000 unless told. */
  readonly timeoutMs?: number
}

/** What a body of an answer may be. */
type Answer = (typeof answers)[keyof typeof answers]

/** Calls to one pinned key service. */
export abstract class Calls {
  /** Whom it calls. */
  readonly pin: KmsPin
  readonly #transport: Transport
  readonly #credential: string | undefined

  /** @throws KmsError MALFORMED when the pin contradicts itself */
  constructor(pin: KmsPin, options: KmsClientOptions = {}) {
    this.pin = parseKmsPin(pin)
    this.#credential = options.credential
    const { socketPath, timeoutMs = 30_000 } = options
    this.#transport = new Transport(this.pin, { socketPath, timeoutMs })
  }

  /** Closes the connections kept open. */
  close(): void {
    this.#transport.close()
  }

  /** Asks; sent again when the connection broke. */
  protected async get<A extends Answer>(path: string, answer: A): Promise<Static<A>> {
    const credential = this.#credential
    return await this.#transport.send({ method: 'GET', path, credential, idempotent: true, answer })
  }

  /** @param idempotent - Whether it may be sent again when the connection broke. */
  protected async post<A extends Answer>(
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
