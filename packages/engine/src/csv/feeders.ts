import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type SealedFormatCode, SealedFormatError } from '@cloister/sealed'
import type { SealedPart } from '../context/source.ts'
import { EngineError } from '../errors.ts'
import type { FeedAnswer, FeedOrder } from './feed-messages.ts'

/** Pipes that are fed at a time: DuckDB opens files in order, one a thread. */
export const AT_ONCE = 2

/** Threads that open sealed files into pipes; kept for the life of a context. */
export class Feeders {
  readonly #idle: Worker[] = []
  readonly #all: Worker[] = []

  /** Starts threads for a table of so many parts, and waits until they run. */
  async start(parts: number): Promise<void> {
    const missing = Math.min(parts, AT_ONCE) - this.#all.length
    const started = Array.from({ length: Math.max(0, missing) }, () => this.#start())
    await Promise.all(
      started.map(async worker => {
        worker.ref()
        await once(worker, 'online')
        worker.unref()
      }),
    )
    this.#idle.push(...started)
  }

  /** Takes a thread; give it back when it has let go. */
  take(): Feeder {
    const worker = this.#idle.pop() ?? this.#start()
    return new Feeder(worker, () => this.#idle.push(worker))
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    await Promise.all(this.#all.map(worker => worker.terminate()))
  }

  #start(): Worker {
    const worker = new Worker(new URL('./feed-worker.mjs', import.meta.url), {
      env: {},
      execArgv: [],
      stderr: false,
    })
    worker.unref()
    this.#all.push(worker)
    return worker
  }
}

/** One thread, at work on one part after the other. */
export class Feeder {
  readonly #worker: Worker
  readonly #giveBack: () => void

  constructor(worker: Worker, giveBack: () => void) {
    this.#worker = worker
    this.#giveBack = giveBack
  }

  /** Feeds a part into a pipe; gives what it failed with, holding the pipe, or `undefined`. */
  async feed(part: SealedPart, fifo: string): Promise<Error | undefined> {
    const answer = await this.#ask({
      kind: 'feed',
      path: part.path,
      dek: part.dek.exposeBytes(),
      fifo,
    })
    return answer.kind === 'failed' ? failureFrom(answer) : undefined
  }

  /** Closes the pipe of a part that failed. */
  async letGo(): Promise<void> {
    await this.#ask({ kind: 'let-go' })
  }

  /** Says that the thread is free. */
  giveBack(): void {
    this.#giveBack()
  }

  async #ask(order: FeedOrder): Promise<FeedAnswer> {
    this.#worker.ref()
    try {
      const answer = once(this.#worker, 'message')
      this.#worker.postMessage(order)
      const [message] = await answer
      return message as FeedAnswer
    } finally {
      this.#worker.unref()
    }
  }
}

function failureFrom(answer: Extract<FeedAnswer, { kind: 'failed' }>): Error {
  const { name, code, message } = answer
  if (name === 'SealedFormatError') {
    return new SealedFormatError(code as SealedFormatCode, message)
  }
  return new EngineError('INPUT', message)
}
