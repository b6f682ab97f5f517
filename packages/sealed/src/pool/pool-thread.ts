import { Worker } from 'node:worker_threads'
import { SealedFormatError } from '../errors.ts'
import { PoolError } from './errors.ts'
import type { PoolReply, PoolRequest } from './protocol.ts'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** One thread of a pool. It keeps the process alive only while it has something to do. */
export class PoolThread {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  /** Resolved once the thread runs, and also when it never will. */
  readonly started: Promise<void>
  #ended: PoolError | undefined

  constructor(url: URL) {
    // No environment and no flags: the thread gets all it needs by message.
    this.#worker = new Worker(url, { env: {}, execArgv: [] })
    this.#worker.on('message', (reply: PoolReply) => this.#settle(reply))
    this.#worker.on('error', cause => {
      this.#end(new PoolError('WORKER', 'a thread that opens segments failed', { cause }))
    })
    this.#worker.on('exit', () => this.#end(new PoolError('CLOSED', 'the pool is closed')))
    this.started = new Promise(resolve => {
      this.#worker.once('online', () => {
        if (this.#waiting.size === 0) this.#worker.unref()
        resolve()
      })
      this.#worker.once('exit', () => resolve())
    })
  }

  /** Sends a request. @throws SealedFormatError @throws PoolError */
  ask(request: PoolRequest): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject })
      this.#worker.ref()
      this.#worker.postMessage(request)
    })
  }

  /** Ends the thread. What it had not answered fails with `CLOSED`, once it writes no more. */
  async close(): Promise<void> {
    this.#ended ??= new PoolError('CLOSED', 'the pool is closed')
    await this.#worker.terminate()
  }

  #settle(reply: PoolReply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    if (reply.kind === 'done') waiting?.resolve()
    else if (reply.of === 'sealed') {
      waiting?.reject(new SealedFormatError(reply.code, reply.message))
    } else waiting?.reject(new PoolError(reply.code, reply.message))
  }

  #end(error: PoolError): void {
    this.#ended ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#ended)
    this.#waiting.clear()
    this.#worker.unref()
  }
}
