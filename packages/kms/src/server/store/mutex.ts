/** Lets one task at a time through, in the order in which they came. */
export class Mutex {
  #last: Promise<void> = Promise.resolve()

  /** Runs `task` when all tasks before it have ended, however they ended. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    const before = this.#last
    let release = (): void => undefined
    this.#last = new Promise(resolve => {
      release = resolve
    })
    await before
    try {
      return await task()
    } finally {
      release()
    }
  }
}
