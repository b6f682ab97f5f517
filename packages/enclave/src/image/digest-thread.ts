import { once } from 'node:events'
import type { FileHandle } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { ImageError } from './errors.ts'
import type { FileDigest } from './files.ts'

/** What the thread is asked: at most `limit` bytes of an open file of this process. */
export interface DigestRequest {
  readonly fd: number
  readonly limit: number
}

/** A second thread that hashes files: the digest of one file is one processor's work. */
export class DigestThread {
  static #shared: DigestThread | undefined
  readonly #worker: Worker
  /** Fails once the thread has ended. */
  readonly #ended: Promise<never>
  #last: Promise<unknown> = Promise.resolve()

  private constructor() {
    // It stands beside this module, and beside the one file that the modules of `cloister run` are.
    const url = new URL('./digest-worker.js', import.meta.url)
    this.#worker = new Worker(url, { env: {}, execArgv: [] })
    this.#worker.unref()
    this.#ended = once(this.#worker, 'exit').then(([code]) => {
      throw new Error(`the thread ended with ${code}`)
    })
    this.#ended.catch(() => {
      DigestThread.#shared = undefined
    })
  }

  /** This process's thread, which stays for the next image. */
  static get shared(): DigestThread {
    DigestThread.#shared ??= new DigestThread()
    return DigestThread.#shared
  }

  /**
   * Hashes a file from where it stands, as `digestFile` does; one after another.
   * @throws ImageError READ
   */
  async digest({ fd }: FileHandle, limit: number): Promise<FileDigest> {
    const answer = this.#last.then(() => this.#answer({ fd, limit }))
    this.#last = answer.catch(() => {})
    return await answer
  }

  async #answer(request: DigestRequest): Promise<FileDigest> {
    this.#worker.ref()
    try {
      this.#worker.postMessage(request)
      const [digest] = await Promise.race([once(this.#worker, 'message'), this.#ended])
      return digest
    } catch (cause) {
      throw new ImageError('READ', 'a file could not be hashed', { cause })
    } finally {
      this.#worker.unref()
    }
  }
}
