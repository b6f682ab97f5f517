import { constants } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { failureFrom, InstanceError } from '../instance/failure.ts'
import { closeForeignDescriptors } from './descriptors.ts'
import { becomeProgram } from './own-process.ts'
import { ProgramError, type RunningProgram } from './program.ts'
import { runJob } from './run.ts'
import { connectedSocket, inheritedSocket, StatusLine } from './status-line.ts'
import {
  gramineSurroundings,
  libOsHere,
  type Surroundings,
  simulatedSurroundings,
} from './surroundings.ts'

/** Exit code of an instance that failed before, or beside, its program. */
const FAILED = 70
const ABANDONED = 75

// What whoever runs a job sends to have it end. The program decides what it makes of it.
const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

let program: RunningProgram | undefined

/** The launcher is gone, and with it whoever could want this job. */
function abandon(): never {
  program?.kill('SIGKILL')
  process.exit(ABANDONED)
}

/** The program's own code where there is one; 128 and the signal's number where it was ended. */
function exitCodeOf(error: unknown): number {
  if (!(error instanceof ProgramError)) return FAILED
  const { exitCode, signal } = error.end
  if (signal !== null) return 128 + constants.signals[signal]
  return exitCode === null || exitCode === 0 ? FAILED : exitCode
}

/** The host wants an end before the program has begun. */
async function giveUp(status: StatusLine, signal: (typeof PASSED_ON)[number]): Promise<never> {
  const error = new InstanceError('SIGNAL', `ended by ${signal} before the program began`)
  return await fail(status, error, 128 + constants.signals[signal], signal)
}

/** Tells the launcher why, and ends. */
async function fail(
  status: StatusLine,
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
  switch (libOsHere()) {
    case undefined:
      closeForeignDescriptors()
      return await work(
        new StatusLine(inheritedSocket(), abandon),
        simulatedSurroundings(process.argv[2] ?? '/'),
      )
    case 'gramine': {
      const surroundings = gramineSurroundings()
      const socket = await connectedSocket(surroundings.layout)
      return await work(new StatusLine(socket, abandon), surroundings)
    }
    case 'occlum':
      throw new InstanceError('IMAGE', 'init runs no jobs under Occlum')
  }
}

async function work(status: StatusLine, surroundings: Surroundings): Promise<never> {
  for (const signal of PASSED_ON) {
    process.on(signal, () => {
      if (program === undefined) void giveUp(status, signal)
      else program.kill(signal)
    })
  }
  try {
    const receipt = await runJob({
      surroundings,
      tell: message => status.tell(message),
      onProgram: started => {
        program = started
      },
    })
    await status.tell(receipt === undefined ? { kind: 'served' } : { kind: 'done', receipt })
    process.exit(0)
  } catch (error) {
    const signal = error instanceof ProgramError ? error.end.signal : null
    return await fail(status, error, exitCodeOf(error), signal)
  }
}

/** Nobody is there to be told but whoever reads what the process prints. */
function failUntold(error: unknown): never {
  const { code, message } = failureFrom(error)
  process.stderr.write(`init: ${code}: ${message}\n`)
  process.exit(FAILED)
}

/** What this thread is there for: to be init, or, where the instance is one process, the program. */
export async function begin(): Promise<void> {
  if (isMainThread) await main().catch(failUntold)
  else becomeProgram()
}
