import { Worker } from 'node:worker_threads'
import type { QueryOutcome } from '../dialect.ts'
import { StoreError } from '../errors.ts'
import type { SqlStatement, WorkerOptions, WorkerReply } from './worker-protocol.ts'

interface Waiting {
  readonly resolve: (outcome: QueryOutcome) => void
  readonly reject: (error: StoreError) => void
}

/** The one connection to the database, which lives on a thread of its own. */
export class WorkerConnection {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #next = 1
  #ended: StoreError | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (reply: WorkerReply) => this.#settle(reply))
    worker.on('error', cause => {
      this.#end(new StoreError('WORKER', 'the database thread failed', { cause }))
    })
    worker.on('exit', () => this.#end(new StoreError('CLOSED', 'the database is closed')))
  }

  /** Starts the thread and opens the database. @throws StoreError SQL, LOCKED, WORKER */
  static async open(options: WorkerOptions): Promise<WorkerConnection> {
    // No environment and no flags: the thread needs a file and nothing else.
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: options,
      env: {},
      execArgv: [],
    })
    const connection = new WorkerConnection(worker)
    await new Promise<QueryOutcome>((resolve, reject) => {
      connection.#waiting.set(0, { resolve, reject })
    })
    return connection
  }

  /**
   * Runs statements in one step, the beginning and end of a transaction among them; when one fails,
   * the transaction is over without its changes. Gives what the last one came to.
   * @throws StoreError SQL, ROW_MAC, CLOSED, WORKER
   */
  async steps(statements: readonly SqlStatement[]): Promise<QueryOutcome> {
    return await this.#ask(id => ({ id, kind: 'steps', statements }))
  }

  /** Ends the transaction, if there is one, without its changes. */
  async rollback(): Promise<void> {
    await this.#ask(id => ({ id, kind: 'rollback' }))
  }

  /** Closes the database and ends the thread. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return
    const exited = new Promise<void>(resolve => this.#worker.once('exit', () => resolve()))
    await this.#ask(id => ({ id, kind: 'close' }))
    await exited
  }

  #ask(request: (id: number) => unknown): Promise<QueryOutcome> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage(request(id))
    })
  }

  #settle(reply: WorkerReply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (reply.kind === 'done') waiting?.resolve(reply)
    else waiting?.reject(new StoreError(reply.code, reply.message))
  }

  #end(error: StoreError): void {
    this.#ended ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#ended)
    this.#waiting.clear()
  }
}
