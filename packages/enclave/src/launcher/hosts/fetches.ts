import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { HANDSHAKE_MS } from '../../init/together/ciphers.ts'

/** Most connections that are waited for at a time. */
const MAX_FETCHES = 1024

/** Connections to hosts that are not called: each is asked for, and made by the other side. */
export class Fetches {
  readonly #awaited = new Map<string, (socket: Socket) => void>()

  /**
   * Asks for one, and waits for it.
   * @param ask - Tells the other host the token that its connection is to bear.
   */
  async next(ask: (token: string) => void): Promise<Socket> {
    if (this.#awaited.size >= MAX_FETCHES) throw new Error('too many connections are waited for')
    const token = randomBytes(16).toString('hex')
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const late = () => reject(new Error('the other host did not call'))
        timer = setTimeout(late, HANDSHAKE_MS).unref()
        this.#awaited.set(token, resolve)
        ask(token)
      })
    } finally {
      clearTimeout(timer)
      this.#awaited.delete(token)
    }
  }

  /** Takes one that has come; ends it where nobody waits for it. */
  take(token: string, socket: Socket): void {
    const resolve = this.#awaited.get(token)
    this.#awaited.delete(token)
    if (resolve === undefined) socket.destroy()
    else resolve(socket)
  }
}

/** The same on the other side: connections that this host is asked to make. */
export class Asked {
  #count = 0

  /** Makes one; undefined where that comes to nothing, or too many are being made. */
  async make(call: () => Promise<Socket>): Promise<Socket | undefined> {
    if (this.#count >= MAX_FETCHES) return undefined
    this.#count += 1
    try {
      return await call()
    } catch {
      return undefined
    } finally {
      this.#count -= 1
    }
  }
}
