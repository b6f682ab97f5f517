import { availableParallelism } from 'node:os'
import { type SealedFileReader, segmentSourceOf } from '../reader.ts'
import { runsOf } from '../runs.ts'
import { PoolThread } from './pool-thread.ts'

/** More threads than this wait for memory, not for the cipher. */
const MOST_WORKERS = 8

/** How a pool is started. */
export interface SegmentPoolOptions {
  /** Number of threads; as many as there are processors, at most 8, if not given. */
  readonly workers?: number
  /** The threads' module, where it is not {@link SEGMENT_WORKER}. */
  readonly workerUrl?: URL
}

/** What {@link SegmentPool.openInto} has written. */
export interface OpenedSegments {
  /** Segments, each counted once. */
  readonly segments: number
  /** Bytes of plaintext. */
  readonly bytes: number
}

/**
 * Threads that open many segments of sealed files at once. They share the process's descriptors and
 * are given a file's derived key as a `KeyObject`, whose bytes are never copied. A thread takes some
 * 30 ms to start: keep a pool for as long as there is work.
 */
export interface SegmentPool {
  /**
   * Opens segments and writes each one's plaintext at its plaintext offset of `target`, a
   * descriptor of a file. Nothing unauthenticated is written. After a failure an unknown part of the
   * segments is written. Keep `file` and `target` open until this returns.
   * @throws SealedFormatError `TAG`, `TRUNCATED`, `RANGE`
   * @throws PoolError
   */
  openInto(
    file: SealedFileReader,
    segments: readonly number[],
    target: number,
  ): Promise<OpenedSegments>

  /** Waits until the threads run: some 30 ms that the first work then does not take. */
  ready(): Promise<void>

  /**
   * Ends the threads; what is under way fails with `CLOSED`. The threads' hold on keys ends with
   * them: a key is zeroed as soon as the file's own reader is gone too.
   */
  close(): Promise<void>
}

/** The module that a pool's threads run; a bundled program needs it as a file of its own. */
export const SEGMENT_WORKER: URL = new URL('./segment-worker.mjs', import.meta.url)

class ThreadPool implements SegmentPool {
  readonly #threads: readonly PoolThread[]
  #next = 0

  constructor(count: number, url: URL) {
    this.#threads = Array.from({ length: count }, () => new PoolThread(url))
  }

  async openInto(
    file: SealedFileReader,
    segments: readonly number[],
    target: number,
  ): Promise<OpenedSegments> {
    const source = segmentSourceOf(file)
    const runs = runsOf(segments, source.cipher.layout)
    const shared = new SharedArrayBuffer(8)
    const answers = this.#threads
      .slice(0, runs.length)
      .map(thread => thread.ask({ id: this.#next++, source, target, runs, shared }))
    // Every thread has stopped writing before a failure is reported.
    for (const answer of await Promise.allSettled(answers)) {
      if (answer.status === 'rejected') throw answer.reason
    }
    const bytesOf = (first: number, count: number) =>
      file.plaintextOf(first + count - 1).end - file.plaintextOf(first).start
    return {
      segments: runs.reduce((sum, { count }) => sum + count, 0),
      bytes: runs.reduce((sum, { first, count }) => sum + bytesOf(first, count), 0),
    }
  }

  async ready(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.started))
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.close()))
  }
}

/** Starts a pool. @throws RangeError for a number of threads that is no whole number from 1 on */
export function createSegmentPool(options: SegmentPoolOptions = {}): SegmentPool {
  const count = options.workers ?? Math.min(availableParallelism(), MOST_WORKERS)
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`workers: wanted a whole number from 1 on, saw ${count}`)
  }
  return new ThreadPool(count, options.workerUrl ?? SEGMENT_WORKER)
}
