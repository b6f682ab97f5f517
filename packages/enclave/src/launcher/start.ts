import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { Duplex, Readable } from 'node:stream'
import { PROGRAM_UID, QUOTE_FD, STATUS_FD } from '../instance/layout.ts'
import type { InstanceLimits } from './cgroup/group.ts'
import { LaunchError } from './errors.ts'
import { executableOf } from './executable.ts'
import type { Confinement } from './isolation.ts'
import { limitedCommand, limitProcesses } from './process-limits.ts'
import { startOf } from './run-folder.ts'
import {
  BLOCK_FD,
  bubblewrapArguments,
  FILTER_FD,
  INFO_FD,
  idMap,
  type ProgramOutside,
  probeArguments,
  programOutside,
  type SandboxPlan,
  type Users,
} from './sandbox.ts'
import { send } from './signals.ts'

const BUBBLEWRAP = ['/usr/bin/bwrap', '/bin/bwrap', '/usr/local/bin/bwrap'] as const
const MAX_INFO = 4096
const PROBE_MS = 10_000

/** A process with the two channels of an instance. */
export interface StartedInstance {
  readonly process: ChildProcess
  /** Where quote requests come in. */
  readonly quotes: Duplex
  /** Where it says how it stands; its end is how the instance learns that the launcher is gone. */
  readonly status: Duplex
  /** Process id of init, as the host sees it. */
  readonly pid: Promise<number>
  /** Ends init and whatever it started. Does nothing to one that has ended. */
  readonly kill: () => void
}

/** Where bubblewrap is, if it is installed. */
export function findBubblewrap(): string | undefined {
  return executableOf(BUBBLEWRAP)
}

/** The strongest confinement that this machine and user allow. */
export async function strongestConfinement(bubblewrap: string): Promise<Confinement> {
  const candidates =
    process.getuid?.() === 0 ? (['two-users', 'one-user'] as const) : (['one-user'] as const)
  for (const confinement of candidates) {
    if (await isToBeHad(bubblewrap, confinement)) return confinement
  }
  return 'none'
}

/** Whether instances can be shut in here. */
export async function hasSandbox(): Promise<boolean> {
  const bubblewrap = findBubblewrap()
  return bubblewrap !== undefined && (await strongestConfinement(bubblewrap)) !== 'none'
}

async function isToBeHad(bubblewrap: string, users: Users): Promise<boolean> {
  const command = [bubblewrap, ...probeArguments(users)]
  const started = startBubblewrap({ command, users, onBlocked: () => {} })
  started.process.stdout?.resume()
  started.process.stderr?.resume()
  started.pid.catch(() => {})
  const timer = setTimeout(started.kill, PROBE_MS)
  try {
    return (await exitOf(started.process)) === 0
  } catch {
    return false
  } finally {
    clearTimeout(timer)
  }
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', code => resolve(code))
  })
}

/** What both ways of starting an instance take. */
interface StartOptions {
  /** Limits that each process is to have by itself, where the kernel holds none over them all. */
  readonly limits: Partial<InstanceLimits>
  /** Called with init's process id, before any of its instructions where there is a sandbox. */
  readonly onBlocked: (pid: number) => void
  /** Whether the instance has the launcher's standard input, and not an empty one. */
  readonly hasInput: boolean
}

/**
 * Starts an instance in a sandbox.
 * @param filter - The system call filter, where there is one for this processor.
 */
export async function startSandboxed(
  bubblewrap: string,
  plan: SandboxPlan,
  options: StartOptions & { readonly filter: Uint8Array | undefined },
): Promise<StartedInstance> {
  const { filter, limits } = options
  const args = await bubblewrapArguments(plan, filter !== undefined)
  const command = limitedCommand([bubblewrap, ...args], limits)
  const outside = programOutside(plan.manifest)
  const onBlocked = (pid: number) => {
    limitProcesses(pid, limits)
    options.onBlocked(pid)
  }
  return startBubblewrap({ ...options, command, users: plan.users, outside, onBlocked })
}

/** Starts an instance as a plain process with an empty environment. It is not shut in at all. */
export function startWithoutSandbox(
  command: readonly string[],
  folder: string,
  { limits, onBlocked, hasInput }: StartOptions,
): StartedInstance {
  const [file = '', ...args] = limitedCommand(command, limits)
  const child = spawn(file, args, {
    cwd: folder,
    env: {},
    stdio: [hasInput ? 'pipe' : 'ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    // A process group of its own, so that the program can be ended with init.
    detached: true,
  })
  // What sets limits replaces itself, so its process is init's.
  const pid = child.pid
  if (pid !== undefined) onBlocked(pid)
  return {
    process: child,
    quotes: channel(child, QUOTE_FD),
    status: channel(child, STATUS_FD),
    kill: () => killGroup(pid),
    pid:
      pid === undefined
        ? Promise.reject(new LaunchError('SANDBOX', 'the instance did not start'))
        : Promise.resolve(pid),
  }
}

function startBubblewrap(options: {
  readonly command: readonly string[]
  readonly users: Users
  readonly outside?: ProgramOutside
  readonly onBlocked: (pid: number) => void
  readonly hasInput?: boolean
  readonly filter?: Uint8Array | undefined
}): StartedInstance {
  const { users, outside = 'stranger', filter, onBlocked } = options
  const launcher = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const [file = '', ...args] = options.command
  const child = spawn(file, args, {
    cwd: '/',
    env: {},
    stdio: [
      options.hasInput === true ? 'pipe' : 'ignore',
      ...(['pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'] as const),
      ...(filter === undefined ? [] : (['pipe'] as const)),
    ],
    // Nobody outside: what init is to the host, and all that it could be if it broke out.
    ...(users === 'two-users' ? { uid: PROGRAM_UID, gid: PROGRAM_UID } : {}),
  })
  if (filter !== undefined) give(child, FILTER_FD, filter)
  let killInit = () => {}
  // The sandbox's processes end with bubblewrap, but for init before it was let go.
  const kill = () => {
    child.kill('SIGKILL')
    killInit()
  }
  const pid = childPid(child).then(value => {
    killInit = killerOf(value)
    if (users === 'two-users') {
      writeFileSync(`/proc/${value}/uid_map`, idMap(launcher.uid, outside))
      writeFileSync(`/proc/${value}/gid_map`, idMap(launcher.gid, outside))
    }
    onBlocked(value)
    give(child, BLOCK_FD, Buffer.from('.'))
    return value
  })
  pid.catch(kill)
  return {
    process: child,
    quotes: channel(child, QUOTE_FD),
    status: channel(child, STATUS_FD),
    kill,
    pid,
  }
}

/** Writes all that is to be read on a descriptor. */
function give(child: ChildProcess, fd: number, bytes: Uint8Array): void {
  const stream = channel(child, fd)
  // Whoever does not read it has ended, and says why.
  stream.on('error', () => {})
  stream.end(bytes)
}

/** Ends a process, and no later one that has its id. */
function killerOf(pid: number): () => void {
  const startedAt = startOf(pid)
  return () => {
    if (startedAt !== undefined && startOf(pid) === startedAt) send(pid, 'SIGKILL')
  }
}

function killGroup(pid: number | undefined): void {
  if (pid !== undefined) send(-pid, 'SIGKILL')
}

/** Reads the process id that bubblewrap says as JSON. */
function childPid(child: ChildProcess): Promise<number> {
  const info = channel(child, INFO_FD)
  return new Promise((resolve, reject) => {
    let text = ''
    info.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
      const pid = /"child-pid"\s*:\s*(\d+)/.exec(text)?.[1]
      // The object is whole once it is closed.
      if (pid !== undefined && text.includes('}')) resolve(Number(pid))
      if (text.length > MAX_INFO) reject(new LaunchError('SANDBOX', 'bubblewrap says too much'))
    })
    const lost = () => reject(new LaunchError('SANDBOX', 'bubblewrap started no instance'))
    info.once('error', lost)
    info.once('end', lost)
    child.once('error', lost)
  })
}

function channel(child: ChildProcess, fd: number): Duplex {
  const stream: Readable | unknown = child.stdio[fd as 3 | 4]
  if (stream === null || stream === undefined) {
    throw new LaunchError('SANDBOX', `descriptor ${fd} of the instance was not made`)
  }
  return stream as Duplex
}
