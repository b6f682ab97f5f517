/** Lets one task at a time through, in the order in which they came. */
export class Mutex {
  #last: Promise<void> = Promise.resolve()
  #queued = 0

  /** Whether a task runs or waits. */
  get isTaken(): boolean {
    return this.#queued > 0
  }

  /** Runs `task` when all tasks before it have ended, however they ended. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    const release = await this.acquire()
    try {
      return await task()
    } finally {
      release()
    }
  }

  /** Waits for one's turn; resolves to what ends it. */
  async acquire(): Promise<() => void> {
    const before = this.#last
    let release = (): void => undefined
    this.#queued++
    this.#last = new Promise(resolve => {
      release = () => {
        this.#queued--
        resolve()
      }
    })
    await before
    return release
  }
}
