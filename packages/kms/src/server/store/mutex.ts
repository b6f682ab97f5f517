/** Thrown when a task's turn did not come in time. */
export class TurnError extends Error {}

/** Lets one task at a time through, in the order in which they came. */
export class Mutex {
  readonly #patienceMs: number
  #last: Promise<void> = Promise.resolve()
  #queued = 0

  /** @param patienceMs - For how long a task waits for its turn at most. */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs
  }

  /** Whether a task runs or waits. */
  get isTaken(): boolean {
    return this.#queued > 0
  }

  /** Runs `task` when all tasks before it have ended, however they ended. @throws TurnError */
  async run<T>(task: () => Promise<T>): Promise<T> {
    const release = await this.acquire()
    try {
      return await task()
    } finally {
      release()
    }
  }

  /** Waits for one's turn; resolves to what ends it. @throws TurnError */
  async acquire(): Promise<() => void> {
    const before = this.#last
    const isFree = this.#queued === 0
    let release = (): void => undefined
    this.#queued++
    this.#last = new Promise(resolve => {
      release = () => {
        this.#queued--
        resolve()
      }
    })
    if (isFree) return release
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>(resolve => {
      timer = setTimeout(() => resolve('late'), this.#patienceMs)
    })
    const turn = await Promise.race([before, late])
    clearTimeout(timer)
    if (turn !== 'late') return release
    // Its turn passes to the next when it comes.
    void before.then(release)
    throw new TurnError('its turn did not come in time')
  }
}
