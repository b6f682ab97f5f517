import { setTimeout as sleep } from 'node:timers/promises'
import {
  KmsClient,
  type KmsClientOptions,
  KmsConnectionError,
  KmsError,
  type KmsPin,
} from '@cloister/kms'
import { InstanceError } from '../instance/failure.ts'

/** How long init goes on trying while the key service is away and the work is done: ten minutes. */
const PATIENCE_MS = 10 * 60 * 1000

/** How long while the program is at work and waits for a key: a minute. */
export const KEY_PATIENCE_MS = 60 * 1000

const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 10_000

/** The two requests that an instance signed, as they were sent. */
export interface SentRequests {
  /** Compact JWS. */
  readonly release: string
  /** Compact JWS. */
  readonly heads: string
}

/**
 * A client that keeps the instance's signed requests for its receipt, and sends those that are made
 * once the work is done again while the key service is away: the work would be lost.
 */
export class RecordingClient extends KmsClient {
  #release: string | undefined
  #heads: string | undefined
  readonly #keyPatienceMs: number

  /** @param keyPatienceMs - How long later requests for keys are sent again; ten minutes unless told. */
  constructor(pin: KmsPin, options: KmsClientOptions = {}, keyPatienceMs = PATIENCE_MS) {
    super(pin, options)
    this.#keyPatienceMs = keyPatienceMs
  }

  /** Goes on for a client of an earlier process, whose first release request this was. */
  goOnAfter(release: string): void {
    this.#release = release
  }

  /** The first release request, as it was sent. */
  releaseRequest(): string {
    if (this.#release !== undefined) return this.#release
    throw new InstanceError('OUTPUT', 'there is no receipt before keys came')
  }

  /**
   * Sends a signed release request. The first is kept, and told at once when it fails: nothing is
   * lost yet. Later ones are for keys of results, and are sent for a while.
   */
  override async release(jws: string): Promise<string> {
    if (this.#release !== undefined) {
      return await insistently(() => super.release(jws), this.#keyPatienceMs)
    }
    const statement = await super.release(jws)
    this.#release = jws
    return statement
  }

  /** Sends a signed heads request, for up to ten minutes. */
  override async commitHeads(jws: string): Promise<string> {
    const statement = await insistently(() => super.commitHeads(jws))
    this.#heads = jws
    return statement
  }

  /** What was sent and answered. */
  requests(): SentRequests {
    if (this.#heads === undefined) {
      throw new InstanceError('OUTPUT', 'there is no receipt before heads moved')
    }
    return { release: this.releaseRequest(), heads: this.#heads }
  }
}

/** Asks again while the key service is away. */
async function insistently(ask: () => Promise<string>, patienceMs = PATIENCE_MS): Promise<string> {
  const deadline = performance.now() + patienceMs
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await ask()
    } catch (error) {
      if (!isAway(error) || performance.now() + pause > deadline) throw error
    }
    await sleep(pause)
  }
}

/** Whether there is no answer yet, and the same may be asked again. */
export function isAway(error: unknown): boolean {
  if (error instanceof KmsError)
    return error.code === 'UNAVAILABLE' || error.code === 'RATE_LIMITED'
  return (
    error instanceof KmsConnectionError &&
    (error.code === 'UNREACHABLE' || error.code === 'TIMEOUT')
  )
}
