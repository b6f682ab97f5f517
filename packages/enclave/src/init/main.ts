// First: see the module.
import './signals.ts'
import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import { failureFrom, InstanceError } from '../instance/failure.ts'
import { ProgramError } from './child.ts'
import { closeForeignDescriptors } from './descriptors.ts'
import { QuoteSource } from './quote-source.ts'
import { runJob } from './run.ts'
import { StatusLine } from './status-line.ts'

/** Exit code of an instance that failed before, or beside, its program. */
const FAILED = 70
const ABANDONED = 75

// What whoever runs a job sends to have it end. The program decides what it makes of it.
const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

let program: ChildProcess | undefined

const status = new StatusLine(() => {
  // The launcher is gone, and with it whoever could want this job.
  program?.kill('SIGKILL')
  process.exit(ABANDONED)
})

/** The program's own code where there is one; 128 and the signal's number where it was ended. */
function exitCodeOf(error: unknown): number {
  if (!(error instanceof ProgramError)) return FAILED
  const { exitCode, signal } = error.end
  if (signal !== null) return 128 + constants.signals[signal]
  return exitCode === null || exitCode === 0 ? FAILED : exitCode
}

/** The host wants an end before the program has begun. */
async function giveUp(signal: (typeof PASSED_ON)[number]): Promise<never> {
  const error = new InstanceError('SIGNAL', `ended by ${signal} before the program began`)
  return await fail(error, 128 + constants.signals[signal], signal)
}

/** Tells the launcher why, and ends. */
async function fail(
  error: unknown,
  exitCode: number,
  signal: NodeJS.Signals | null,
): Promise<never> {
  const { reasons, ...failure } = failureFrom(error)
  await status.tell({
    kind: 'failed',
    failure: { ...failure, reasons: [...reasons] },
    exitCode,
    signal,
  })
  process.exit(exitCode)
}

async function main(): Promise<never> {
  closeForeignDescriptors()
  for (const signal of PASSED_ON) {
    process.on(signal, () => {
      if (program === undefined) void giveUp(signal)
      else program.kill(signal)
    })
  }
  try {
    const receipt = await runJob({
      base: process.argv[2] ?? '/',
      quotes: new QuoteSource(),
      tell: message => status.tell(message),
      onProgram: child => {
        program = child
      },
    })
    await status.tell({ kind: 'done', receipt })
    process.exit(0)
  } catch (error) {
    const signal = error instanceof ProgramError ? error.end.signal : null
    return await fail(error, exitCodeOf(error), signal)
  }
}

await main()
