import { availableParallelism } from 'node:os'
import { type SealedFileReader, segmentSourceOf } from '../reader.ts'
import { runsBetween, runsOf } from '../runs.ts'
import { PoolError } from './errors.ts'
import { PipeTarget } from './pipe-target.ts'
import { PoolThread } from './pool-thread.ts'

/** More threads than this wait for memory, not for the cipher. */
const MOST_WORKERS = 8

/** Runs that are opened ahead of a reader in order, for each thread. */
const AHEAD = 2

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

/** How {@link SegmentPool.openInOrder} came to its end. */
export interface OpenedInOrder {
  /** `reader-closed`: the pipe's reader had enough, and the rest of the file was not written. */
  readonly ended: 'complete' | 'reader-closed'
  /** Bytes of plaintext that the pipe has taken. */
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

  /**
   * Writes the plaintext in order to `target`, a descriptor of a pipe, at the pace of the pipe's
   * reader; opens ahead by 2 MiB for each thread. A reader that is slow holds up no thread and no
   * other file. A reader that leaves is no failure. `target` stays open: close it to end the
   * reader's input, and after a failure only once the reader cannot take what it got for the whole.
   * @param options - `signal` ends the work; then it fails with the signal's reason
   * @throws SealedFormatError `TAG`, `TRUNCATED`; nothing of that segment or later is written
   * @throws PoolError
   */
  openInOrder(
    file: SealedFileReader,
    target: number,
    options?: { readonly signal?: AbortSignal },
  ): Promise<OpenedInOrder>

  /**
   * Yields the plaintext in order, opened ahead as by {@link openInOrder}.
   * @throws SealedFormatError `TAG`, `TRUNCATED`
   * @throws PoolError
   */
  stream(file: SealedFileReader): AsyncGenerator<Uint8Array, void, undefined>

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
  readonly #closing = new AbortController()
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
      .map(thread => thread.ask({ kind: 'into', id: this.#next++, source, target, runs, shared }))
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

  async openInOrder(
    file: SealedFileReader,
    target: number,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<OpenedInOrder> {
    signal?.throwIfAborted()
    const pipe = PipeTarget.open(target)
    // A reader that reads nothing holds a write up for ever: closing the pool ends it.
    const ending = AbortSignal.any([
      this.#closing.signal,
      ...(signal === undefined ? [] : [signal]),
    ])
    let bytes = 0
    try {
      if (pipe === undefined) return { ended: 'reader-closed', bytes }
      for await (const piece of this.stream(file)) {
        if ((await pipe.write(piece, ending)) === 'reader-closed') {
          return { ended: 'reader-closed', bytes }
        }
        bytes += piece.length
      }
      return { ended: 'complete', bytes }
    } finally {
      await pipe?.close()
    }
  }

  async *stream(file: SealedFileReader): AsyncGenerator<Uint8Array, void, undefined> {
    const source = segmentSourceOf(file)
    const { segmentCount, segmentSize } = source.cipher.layout
    const runs = runsBetween(0, segmentCount, segmentSize)
    const ahead: Promise<readonly Uint8Array[]>[] = []
    try {
      for (;;) {
        while (ahead.length < AHEAD * this.#threads.length) {
          const run = runs.next().value
          if (run === undefined) break
          const opened = this.#leastLoaded().ask({ kind: 'run', id: this.#next++, source, run })
          // A failure is reported when its turn comes.
          opened.catch(() => undefined)
          ahead.push(opened)
        }
        const pieces = await ahead.shift()
        if (pieces === undefined) return
        for (const piece of pieces) if (piece.length > 0) yield piece
      }
    } finally {
      // The file may be closed after this: no thread reads it any more.
      await Promise.allSettled(ahead)
    }
  }

  async ready(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.started))
  }

  async close(): Promise<void> {
    this.#closing.abort(new PoolError('CLOSED', 'the pool is closed'))
    await Promise.all(this.#threads.map(thread => thread.close()))
  }

  #leastLoaded(): PoolThread {
    const [first, ...others] = this.#threads
    if (first === undefined) throw new RangeError('a pool has at least one thread')
    return others.reduce((least, thread) => (thread.load < least.load ? thread : least), first)
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
