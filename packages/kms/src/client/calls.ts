import type { Static } from '@sinclair/typebox'
import { type KmsPin, parseKmsPin } from '../protocol/pin.ts'
import type { ClientCertificate } from './pinned-agent.ts'
import { type Answer, Sender } from './sender.ts'
import { Transport } from './transport.ts'

/** Options of a client. */
export interface KmsClientOptions {
  /** The account's, for calls that an owner makes; or the operator's or the audit token. */
  readonly credential?: string
  /** Presented to the key service, with or without a credential beside it. */
  readonly clientCertificate?: ClientCertificate
  /** A Unix socket to connect to in place of the pin's host and port. */
  readonly socketPath?: string
  /** Milliseconds until a call must be answered; 30,000 unless told. */
  readonly timeoutMs?: number
}

/** Calls to one pinned key service. */
export abstract class Calls {
  /** Whom it calls. */
  readonly pin: KmsPin
  /** What the calls go by. */
  protected readonly sender: Sender
  readonly #transport: Transport

  /** @throws KmsError MALFORMED when the pin contradicts itself */
  constructor(pin: KmsPin, options: KmsClientOptions = {}) {
    this.pin = parseKmsPin(pin)
    const { clientCertificate, credential, socketPath, timeoutMs = 30_000 } = options
    this.#transport = new Transport(this.pin, { socketPath, timeoutMs, clientCertificate })
    this.sender = new Sender(this.#transport, credential)
  }

  /** Closes the connections kept open. */
  close(): void {
    this.#transport.close()
  }

  /** Asks; sent again when the connection broke. */
  protected async get<A extends Answer>(path: string, answer: A): Promise<Static<A>> {
    return await this.sender.get(path, answer)
  }

  /** @param idempotent - Whether it may be sent again when the connection broke. */
  protected async post<A extends Answer>(
    path: string,
    body: object,
    answer: A,
    idempotent = false,
  ): Promise<Static<A>> {
    return await this.sender.post(path, body, answer, idempotent)
  }
}
