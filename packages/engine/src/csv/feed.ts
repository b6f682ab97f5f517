import type { SealedPart } from '../context/source.ts'
import { AT_ONCE, type Feeders } from './feeders.ts'
import { makeFifos, releaseWriter } from './fifo.ts'

/** Sealed parts on their way through pipes, one pipe a part, each for one reader. */
export class Feed {
  /** The pipes' paths, in the parts' order. */
  readonly paths: readonly string[]
  readonly #parts: readonly SealedPart[]
  readonly #feeders: Feeders
  readonly #onFailure: () => void
  readonly #done: Promise<void>
  #next = 0
  #stopped = false
  #failure: Error | undefined

  private constructor(
    parts: readonly SealedPart[],
    paths: readonly string[],
    feeders: Feeders,
    onFailure: () => void,
  ) {
    this.#parts = parts
    this.paths = paths
    this.#feeders = feeders
    this.#onFailure = onFailure
    const lanes = Array.from({ length: Math.min(AT_ONCE, parts.length) }, () => this.#lane())
    this.#done = Promise.all(lanes).then(() => undefined)
  }

  /**
   * Begins to feed. When a part does not open, `onFailure` is called before the reader is let go,
   * and the reader is given a text that it must refuse: what it made of the rest is no result.
   */
  static async start(options: {
    readonly parts: readonly SealedPart[]
    readonly folder: string
    readonly feeders: Feeders
    readonly onFailure: () => void
  }): Promise<Feed> {
    const { parts, folder, feeders, onFailure } = options
    return new Feed(parts, await makeFifos(folder, parts.length), feeders, onFailure)
  }

  /**
   * Ends the feed after the query has ended: pipes that were not opened are taken away.
   * @throws SealedFormatError, EngineError what a part failed with
   */
  async finish(): Promise<void> {
    this.#stopped = true
    let done = false
    const ended = this.#done.then(() => {
      done = true
    })
    // A thread may have come to its next pipe just now, so look again until all have ended.
    while (!done) {
      await Promise.all(this.paths.map(releaseWriter))
      await Promise.race([ended, pause()])
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  async #lane(): Promise<void> {
    const feeder = this.#feeders.take()
    try {
      while (this.#next < this.#parts.length && !this.#stopped) {
        const index = this.#next++
        const part = this.#parts[index]
        const path = this.paths[index]
        if (part === undefined || path === undefined) return
        const failure = await feeder.feed(part, path)
        if (failure === undefined) continue
        this.#failure ??= failure
        this.#stopped = true
        this.#onFailure()
        await feeder.letGo()
      }
    } finally {
      feeder.giveBack()
    }
  }
}

function pause(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 2))
}
