import { EXIT } from './output/exit-codes.ts'

/**
 * Resolves at the first SIGINT or SIGTERM. From then on a second one ends the process at once, with an
 * exit code that says so.
 */
export async function untilInterrupted(): Promise<void> {
  await new Promise<void>(resolve => {
    let isTold = false
    const told = () => {
      if (isTold) process.exit(EXIT.cutShort)
      isTold = true
      resolve()
    }
    process.on('SIGINT', told)
    process.on('SIGTERM', told)
  })
}
