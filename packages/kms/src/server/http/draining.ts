import { Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** For how long a connection is left open that was told of no end, as nothing was asked on it. */
const LINGER_MS = 500

/** For how long an answer that was given may take to leave, and its request to be told of. */
const LEAVE_MS = 250

const LOOK_MS = 5

/** How a server came to its end. */
export interface Drained {
  /** Requests that were under way when the time was over, and got no answer. */
  readonly cutOff: number
}

/**
 * Ends a server without taking an answer from anybody: no connection is accepted any more, each open
 * one is told with its next answer that it was the last, and those on which nothing is asked are closed.
 */
export class Draining {
  readonly #app: FastifyInstance
  readonly #sockets = new Set<Socket>()
  #requests = 0
  #isDraining = false

  constructor(app: FastifyInstance) {
    this.#app = app
    app.server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    app.server.on('request', (_request, response) => {
      this.#requests++
      response.once('close', () => this.#requests--)
    })
  }

  /** Whether the end has begun. */
  get isDraining(): boolean {
    return this.#isDraining
  }

  /** Requests that are not answered yet. */
  get requests(): number {
    return this.#requests
  }

  /** Ends the server. @param graceMs - For how long it waits for requests that are under way */
  async finish(graceMs: number): Promise<Drained> {
    this.#isDraining = true
    const begun = performance.now()
    // The port alone: HTTP's own way also breaks connections between two requests, one of which may
    // be on its way here.
    Server.prototype.close.call(this.#app.server)
    const isOver = () => {
      const waited = performance.now() - begun
      if (this.#requests > 0) return waited > graceMs
      return this.#sockets.size === 0 || waited > Math.min(LINGER_MS, graceMs)
    }
    while (!isOver()) await sleep(LOOK_MS)
    const cutOff = this.#requests
    const closed = this.#app.close()
    if (cutOff === 0) {
      const since = performance.now()
      while (this.#sockets.size > 0 && performance.now() - since < LEAVE_MS) await sleep(LOOK_MS)
    }
    for (const socket of this.#sockets) socket.destroy()
    await closed
    // What becomes of requests that were cut off is on the log before the end is.
    if (cutOff > 0) await sleep(LEAVE_MS)
    return { cutOff }
  }
}
