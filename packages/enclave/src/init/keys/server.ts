import { once } from 'node:events'
import { chmod, chown } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { encodeFrame, FrameReader } from '../../instance/frame.ts'
import { BrokerError } from './errors.ts'

/** Most connections at a time. */
const MAX_CONNECTIONS = 512

/** Most bytes of unfinished frames, over all connections: 64 MiB. */
const MAX_HELD_BYTES = 64 * 1024 * 1024

/** Answers one request. @throws BrokerError what is to be refused */
export type Answer = (request: Uint8Array) => Promise<object>

/**
 * The broker's end of its socket: takes requests off each connection, one after the other, and gives
 * each its reply. Whoever connects may be hostile: what it can hold of init's memory is limited.
 */
export class BrokerServer {
  /** What went wrong on our side, and is no refusal: the work of such a run is not to be trusted. */
  failure: unknown = undefined
  readonly #answer: Answer
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #heldBytes = 0

  private constructor(answer: Answer) {
    this.#answer = answer
    // Whoever has sent its last request still gets its replies.
    this.#server = createServer({ allowHalfOpen: true }, socket => void this.serve(socket))
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /**
   * Listens where only one user can connect.
   * @param uid - That user's, where it is not init's own.
   */
  static async listen(
    path: string,
    uid: number | undefined,
    answer: Answer,
  ): Promise<BrokerServer> {
    const broker = new BrokerServer(answer)
    broker.#server.listen(path)
    await once(broker.#server, 'listening')
    await chmod(path, 0o600)
    if (uid !== undefined) await chown(path, uid, uid)
    return broker
  }

  /** Ends every connection, and takes no more. */
  async close(): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /**
   * Serves a connection to its end.
   * @param answer - What answers this one, where it is not as the others.
   */
  async serve(socket: Socket, answer: Answer = this.#answer): Promise<void> {
    if (this.#sockets.size >= MAX_CONNECTIONS) {
      socket.destroy()
      return
    }
    const reader = new FrameReader()
    let heldBytes = 0
    const hold = (bytes: number) => {
      this.#heldBytes += bytes - heldBytes
      heldBytes = bytes
    }
    this.#sockets.add(socket)
    socket.on('error', () => {})
    try {
      // Leaving the loop must not end the connection before the last reply is out.
      for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
        const requests = requestsIn(reader, chunk as Uint8Array)
        hold(reader.heldBytes)
        if (this.#heldBytes > MAX_HELD_BYTES) {
          throw new BrokerError('MALFORMED', 'unfinished requests hold too much memory')
        }
        for (const request of requests) await send(socket, await this.#replyTo(request, answer))
      }
    } catch (error) {
      // Anything else is a connection that its other end broke off.
      if (error instanceof BrokerError) await send(socket, refusal(error))
    } finally {
      hold(0)
      this.#sockets.delete(socket)
      socket.destroySoon()
    }
  }

  /** @throws BrokerError MALFORMED, after which nothing that comes along the connection is read */
  async #replyTo(request: Uint8Array, answer: Answer): Promise<object> {
    try {
      return { ok: await answer(request) }
    } catch (error) {
      if (error instanceof BrokerError && error.code !== 'MALFORMED') return refusal(error)
      if (!(error instanceof BrokerError)) this.failure ??= error
      throw error
    }
  }
}

function requestsIn(reader: FrameReader, chunk: Uint8Array): readonly Uint8Array[] {
  try {
    return reader.push(chunk)
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : 'no frame'
    throw new BrokerError('MALFORMED', detail, { cause })
  }
}

function refusal({ code, message }: BrokerError): object {
  return { error: { code, message } }
}

/** Waits until the other end has taken it, or has gone. */
async function send(socket: Socket, reply: object): Promise<void> {
  const frame = encodeFrame(new TextEncoder().encode(JSON.stringify(reply)))
  await new Promise<void>(resolve => socket.write(frame, () => resolve()))
}
