import { SingleBar } from 'cli-progress'

/** How far a piece of work has come. */
export interface Progress {
  /** Tells how much is done, and of how much where the total was not known before. */
  update(done: number, total?: number): void
  /** Removes the bar. */
  stop(): void
}

const SILENT: Progress = { update() {}, stop() {} }

/** Work shorter than this shows no bar. */
const PATIENCE_MILLISECONDS = 1000

/**
 * A progress bar on standard error that appears when the work takes longer than a second;
 * nothing without a terminal.
 */
export function startProgress(label: string, expected?: number): Progress {
  if (!process.stderr.isTTY || expected === 0) return SILENT
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}% | {eta_formatted} left`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  })
  const begun = Date.now()
  let shown = false
  return {
    update(done, total = expected) {
      if (total !== undefined && !shown && Date.now() - begun > PATIENCE_MILLISECONDS) {
        bar.start(total, done)
        shown = true
      }
      if (shown) bar.update(done)
    },
    stop() {
      if (shown) bar.stop()
    },
  }
}
