import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, writeFileSync } from 'node:fs'
import type { Duplex, Readable } from 'node:stream'
import { PROGRAM_UID, QUOTE_FD, STATUS_FD } from '../instance/layout.ts'
import { LaunchError } from './errors.ts'
import {
  bubblewrapArguments,
  type Confinement,
  INFO_FD,
  idMap,
  probeArguments,
  type SandboxPlan,
  USER_NAMESPACE_FD,
} from './sandbox.ts'

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
  return BUBBLEWRAP.find(path => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
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

async function isToBeHad(bubblewrap: string, confinement: 'two-users' | 'one-user') {
  const started = startBubblewrap(bubblewrap, confinement, probeArguments(confinement))
  started.process.stdout?.resume()
  started.process.stderr?.resume()
  started.pid.catch(() => {})
  const timer = setTimeout(() => started.process.kill('SIGKILL'), PROBE_MS)
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

/** Starts an instance in a sandbox. */
export async function startSandboxed(
  bubblewrap: string,
  plan: SandboxPlan,
): Promise<StartedInstance> {
  return startBubblewrap(bubblewrap, plan.confinement, await bubblewrapArguments(plan))
}

/** Starts an instance as a plain process with an empty environment. It is not shut in at all. */
export function startWithoutIsolation(command: readonly string[], folder: string): StartedInstance {
  const child = spawn('/bin/sh', withoutCoreDumps(command), {
    cwd: folder,
    env: {},
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    // A process group of its own, so that the program can be ended with init.
    detached: true,
  })
  // The shell replaces itself, so its process is init's.
  const pid = child.pid
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

function startBubblewrap(
  bubblewrap: string,
  confinement: 'two-users' | 'one-user',
  args: readonly string[],
): StartedInstance {
  const launcher = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const child = spawn('/bin/sh', withoutCoreDumps([bubblewrap, ...args]), {
    cwd: '/',
    env: {},
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    // Nobody outside: what init is to the host, and all that it could be if it broke out.
    ...(confinement === 'two-users' ? { uid: PROGRAM_UID, gid: PROGRAM_UID } : {}),
  })
  const blocked = channel(child, USER_NAMESPACE_FD)
  blocked.on('error', () => {})
  const pid = childPid(child).then(value => {
    if (confinement === 'two-users') {
      writeFileSync(`/proc/${value}/uid_map`, idMap(launcher.uid))
      writeFileSync(`/proc/${value}/gid_map`, idMap(launcher.gid))
    }
    blocked.end('.')
    return value
  })
  pid.catch(() => child.kill('SIGKILL'))
  return {
    process: child,
    quotes: channel(child, QUOTE_FD),
    status: channel(child, STATUS_FD),
    // The sandbox's processes end with bubblewrap.
    kill: () => child.kill('SIGKILL'),
    pid,
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in the group.
  }
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

/** A core dump would hold the instance's memory. */
function withoutCoreDumps(command: readonly string[]): string[] {
  return ['-c', 'ulimit -c 0 && exec "$@"', 'sh', ...command]
}

function channel(child: ChildProcess, fd: number): Duplex {
  const stream: Readable | unknown = child.stdio[fd as 3 | 4]
  if (stream === null || stream === undefined) {
    throw new LaunchError('SANDBOX', `descriptor ${fd} of the instance was not made`)
  }
  return stream as Duplex
}
