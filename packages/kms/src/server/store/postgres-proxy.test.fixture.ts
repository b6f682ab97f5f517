import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { PostgresOptions } from './index.ts'

/** What becomes of a connection at its next commit; `late`: cut, and all sent for it held back. */
export type CommitFate = 'pass' | 'cut-before' | 'cut-after' | 'late'

const COMMIT = Buffer.from('commit\0')

/** Stands between a store and its server, and cuts connections at the worst moments. */
export class PostgresProxy {
  /** Of the next commit; one that was cut is followed by others that pass. */
  fate: CommitFate = 'pass'
  /** Whether new connections are taken. */
  isOpen = true
  readonly #server: Server
  readonly #to: PostgresOptions
  readonly #sockets = new Set<Socket>()
  #deliver: (() => void) | undefined

  private constructor(to: PostgresOptions) {
    this.#to = to
    this.#server = createServer(socket => this.#carry(socket))
  }

  static async start(to: PostgresOptions): Promise<PostgresProxy> {
    const proxy = new PostgresProxy(to)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  /** How the database is reached through this. */
  get options(): PostgresOptions {
    const address = this.#server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    return { ...this.#to, port }
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  /** Has what was held back reach the server. */
  deliver(): void {
    this.#deliver?.()
  }

  close(): void {
    this.#server.close()
    this.cut()
  }

  #carry(near: Socket): void {
    if (!this.isOpen) {
      near.destroy()
      return
    }
    const far = connect({ host: this.#to.host, port: this.#to.port })
    const held: Buffer[] = []
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => {
        near.destroy()
        if (held.length === 0) far.destroy()
      })
    }
    far.on('data', (chunk: Buffer) => near.write(chunk))
    near.on('data', (chunk: Buffer) => {
      const { fate } = this
      if (fate === 'late') held.push(chunk)
      if (fate === 'late' && chunk.includes(COMMIT)) {
        this.fate = 'pass'
        this.#deliver = () => far.end(Buffer.concat(held))
        near.destroy()
        return
      }
      if (fate === 'late') return
      if (fate === 'pass' || !chunk.includes(COMMIT)) {
        far.write(chunk)
        return
      }
      this.fate = 'pass'
      if (fate === 'cut-after') {
        // What was answered before is lost with the commit's own answer.
        far.removeAllListeners('data')
        far.once('data', () => near.destroy())
        far.write(chunk)
      } else {
        near.destroy()
      }
    })
  }
}
