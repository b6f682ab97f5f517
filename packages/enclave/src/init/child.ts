import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Mounts, mountTargets } from '../definition/mounts.ts'
import { InstanceError } from '../instance/failure.ts'
import { type InstanceLayout, PROGRAM_UID } from '../instance/layout.ts'

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

/** A program to be started; its arguments and environment are measured or in the job, and no secret. */
export interface ProgramPlan {
  readonly argv: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly mounts: Mounts
  readonly layout: InstanceLayout
  readonly asAnotherUser: boolean
  /** Whether it reads what the host writes to the instance. */
  readonly standardInput: boolean
}

const CAP_SETGID = 6n
const CAP_SETUID = 7n

/** Whether init may make the program another user than itself. */
export function canChangeUser(layout: InstanceLayout): boolean {
  // Outside a sandbox another user could not reach the folders.
  if (layout.rootFolder !== '/' || process.getuid?.() !== 0) return false
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  const capabilities = BigInt(`0x${effective ?? '0'}`)
  return [CAP_SETGID, CAP_SETUID].every(bit => (capabilities & (1n << bit)) !== 0n)
}

/**
 * Starts the program. Of init's descriptors it gets its standard streams, and nothing else.
 * @param channel - `ipc` for one more, of Node's kind.
 */
export function startProgram(plan: ProgramPlan, channel?: 'ipc'): ChildProcess {
  const { layout, environment, asAnotherUser, standardInput } = plan
  const place = placing(plan)
  const [command = '', ...args] = plan.argv.map(place)
  return spawn(command, args, {
    stdio: [
      standardInput ? 'inherit' : 'ignore',
      ...(['inherit', 'inherit'] as const),
      ...(channel === undefined ? [] : [channel]),
    ],
    serialization: 'advanced',
    cwd: layout.scratchFolder,
    env: Object.fromEntries(Object.entries(environment).map(([name, text]) => [name, place(text)])),
    ...(asAnotherUser ? { uid: PROGRAM_UID, gid: PROGRAM_UID } : {}),
  })
}

/** How a program ended, once it has. @throws InstanceError PROGRAM when it does not start */
export function endOf(child: ChildProcess): Promise<ProgramEnd> {
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

/** @throws ProgramError unless the program ended with 0 */
export function requireGoodEnd(end: ProgramEnd): void {
  if (end.exitCode === 0) return
  const how = end.signal === null ? `ended with ${end.exitCode}` : `was ended by ${end.signal}`
  throw new ProgramError(`the program ${how}`, end)
}

/**
 * Where there is no sandbox, paths of mounts and of the image lie elsewhere. Arguments and values
 * that are such a path, or begin with one, are given as where it lies; a program that has one in its
 * own text does not find it.
 */
function placing({ layout, mounts }: ProgramPlan): (text: string) => string {
  if (layout.rootFolder === '/') return text => text
  const targets = mountTargets(mounts)
  return text => {
    const target = targets.find(to => text === to || text.startsWith(`${to}/`))
    if (target !== undefined) return `${layout.mountFolder(target)}${text.slice(target.length)}`
    if (!text.startsWith('/')) return text
    const path = join(layout.rootFolder, text)
    return existsSync(path) ? path : text
  }
}
