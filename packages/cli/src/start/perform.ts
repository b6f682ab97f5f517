import type { Command } from 'commander'
import { failureOf } from '../output/failure.ts'

/** Performs this process's command, and tells how it failed. */
export async function perform(
  create: (argv: readonly string[]) => Promise<Command>,
): Promise<void> {
  // Who reads no more, as `head` does, has had enough: nothing is wrong.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit()
  })
  try {
    const program = await create(process.argv)
    await program.parseAsync(process.argv)
  } catch (error) {
    const failure = failureOf(error)
    if (failure.text !== '') process.stderr.write(failure.text)
    process.exitCode = failure.exitCode
  }
}
