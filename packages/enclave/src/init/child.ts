import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { mountTargets } from '../definition/mounts.ts'
import { InstanceError } from '../instance/failure.ts'
import { type InstanceLayout, PROGRAM_UID } from '../instance/layout.ts'
import type { ProgramEnd, ProgramPlan, RunningProgram } from './program.ts'

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
 * Starts the program as a process of its own. Of init's descriptors it gets its standard streams, and
 * nothing else but the channel, where it speaks with init.
 */
export function startProcess(plan: ProgramPlan, channel: 'ipc' | 'none'): RunningProgram {
  const child = spawned(plan, channel)
  return {
    pid: child.pid,
    end: endOf(child),
    kill: signal => void child.kill(signal),
    // A program that does not read its message ends, and its end says so.
    send: message => void child.send(message, () => {}),
    onMessage: listener => void child.on('message', listener),
  }
}

function spawned(plan: ProgramPlan, channel: 'ipc' | 'none'): ChildProcess {
  const { layout, environment, asAnotherUser, standardInput } = plan
  const place = placing(plan)
  const [command = '', ...args] = plan.argv.map(place)
  return spawn(command, args, {
    stdio: [
      standardInput ? 'inherit' : 'ignore',
      ...(['inherit', 'inherit'] as const),
      ...(channel === 'none' ? [] : [channel]),
    ],
    serialization: 'advanced',
    cwd: layout.scratchFolder,
    env: Object.fromEntries(Object.entries(environment).map(([name, text]) => [name, place(text)])),
    ...(asAnotherUser ? { uid: PROGRAM_UID, gid: PROGRAM_UID } : {}),
  })
}

/** How a process ended, once it has. @throws InstanceError PROGRAM when it does not start */
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
