import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { InstanceError } from '../instance/failure.ts'
import { type InstanceLayout, PROGRAM_UID } from '../instance/layout.ts'
import { type ProgramInput, type ProgramOutput, parseProgramOutput } from '../instance/program.ts'

/** What the program's process ended with. */
export interface ProgramEnd {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
}

/** Thrown when the program ended without having done its job; its end becomes the instance's. */
export class ProgramError extends InstanceError {
  readonly end: ProgramEnd

  constructor(message: string, end: ProgramEnd) {
    super('PROGRAM', message)
    this.end = end
  }
}

/** Whether init may make the program another user than itself. */
export function canChangeUser(layout: InstanceLayout): boolean {
  // Outside a sandbox another user could not reach the folders.
  if (layout.rootFolder !== '/' || process.getuid?.() !== 0) return false
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  const capabilities = BigInt(`0x${effective ?? '0'}`)
  return [CAP_SETGID, CAP_SETUID].every(bit => (capabilities & (1n << bit)) !== 0n)
}

/** How long a program that has answered may take to end. */
const GRACE_MS = 30_000

const CAP_SETGID = 6n
const CAP_SETUID = 7n

/**
 * Runs the program: hands it the job and its keys over the process channel, waits for its one answer
 * and for its end. Its arguments and environment are measured or in the job, and hold no secret.
 * @param onStart - Given the process, so that whoever must can end it.
 * @throws ProgramError when it ends otherwise than with 0 after an answer
 */
export async function runProgram(options: {
  readonly argv: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly layout: InstanceLayout
  readonly asAnotherUser: boolean
  readonly input: ProgramInput
  readonly onStart: (child: ChildProcess) => void
}): Promise<ProgramOutput> {
  const { layout, input } = options
  const [command = '', ...args] = options.argv.map(argument => inRoot(argument, layout))
  const child = spawn(command, args, {
    cwd: layout.scratchFolder,
    env: { ...options.environment },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
    ...(options.asAnotherUser ? { uid: PROGRAM_UID, gid: PROGRAM_UID } : {}),
  })
  options.onStart(child)
  const answers: unknown[] = []
  let late: NodeJS.Timeout | undefined
  child.on('message', message => {
    answers.push(message)
    late ??= setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
  })
  // A program that does not read its message ends, and its end says so.
  child.send(input, () => {})
  const end = await endOf(child).finally(() => clearTimeout(late))
  if (end.exitCode !== 0) throw new ProgramError(`the program ${howOf(end)}`, end)
  if (answers.length !== 1) {
    throw new ProgramError(`the program gave ${answers.length} answers, wanted 1`, end)
  }
  return parseProgramOutput(answers[0], input.job)
}

function endOf(child: ChildProcess): Promise<ProgramEnd> {
  return new Promise((resolve, reject) => {
    child.once('error', cause => {
      reject(
        new InstanceError('PROGRAM', `the program does not start: ${cause.message}`, { cause }),
      )
    })
    // After the last message and the last output.
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal }))
  })
}

function howOf({ exitCode, signal }: ProgramEnd): string {
  return signal === null ? `ended with ${exitCode}` : `was ended by ${signal}`
}

/** Paths of the image are below its folder where there is no sandbox. */
function inRoot(argument: string, layout: InstanceLayout): string {
  if (layout.rootFolder === '/' || !argument.startsWith('/')) return argument
  const path = join(layout.rootFolder, argument)
  return existsSync(path) ? path : argument
}
