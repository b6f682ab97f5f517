/** What whoever runs an instance may send it. Init passes on what the image lets through. */
const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const

/** After so many the instance is ended: it, or its program, does not listen. */
const LAST_INTERRUPT = 3

/**
 * Passes this process's signals on to an instance. A third SIGINT ends it.
 * @returns a function that stops doing so
 */
export function passOnSignals(pid: number, kill: () => void): () => void {
  let interrupts = 0
  return onSignals(signal => {
    if (signal === 'SIGINT') interrupts += 1
    if (interrupts >= LAST_INTERRUPT) kill()
    else send(pid, signal)
  })
}

/**
 * Hands this process's signals to whoever passes them on to an instance.
 * @returns a function that stops doing so
 */
export function onSignals(take: (signal: NodeJS.Signals) => void): () => void {
  const listeners = PASSED_ON.map(signal => {
    const listener = () => take(signal)
    process.on(signal, listener)
    return [signal, listener] as const
  })
  return () => {
    for (const [signal, listener] of listeners) process.off(signal, listener)
  }
}

/** Sends a signal to a process, or of a negative id to its group, if it is still there. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has just ended.
  }
}
