import { spawnSync } from 'node:child_process'
import { release } from 'node:os'
import type { InstanceLimits } from './cgroup/group.ts'
import { LaunchError } from './errors.ts'
import { executableOf } from './executable.ts'
import type { Limiter } from './isolation.ts'

const PRLIMIT = ['/usr/bin/prlimit', '/bin/prlimit'] as const

/** Whether each process can have a memory limit by itself here. */
export function hasMemoryLimits(): boolean {
  return executableOf(PRLIMIT) !== undefined
}

/**
 * Whether a limit on processes holds for an instance by itself. Before, the kernel counted whatever
 * runs on the machine as the same user.
 * @see Linux 5.14, kernel/ucount.c: is_rlimit_overlimit
 */
export function hasProcessLimits(kernel: string = release()): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number)
  return hasMemoryLimits() && (major > 5 || (major === 5 && minor >= 14))
}

/** Where no group holds a limit, each process may have one by itself. */
export function limiterOf(limiter: Limiter, hasOwnLimits: boolean): Limiter {
  return limiter === 'none' && hasOwnLimits ? 'rlimit' : limiter
}

/**
 * A command under limits. No core dumps, which would hold the instance's memory: with a limit of one
 * byte the kernel neither writes one nor hands it to a program, as it would with none at all.
 * @see Linux, fs/coredump.c: `cprm.limit == 1`
 */
export function limitedCommand(
  command: readonly string[],
  { memoryBytes }: Partial<InstanceLimits>,
): readonly string[] {
  const prlimit = executableOf(PRLIMIT)
  if (prlimit === undefined) return ['/bin/sh', '-c', 'ulimit -c 0 && exec "$@"', 'sh', ...command]
  const memory = memoryBytes === undefined ? [] : [`--data=${memoryBytes}:${memoryBytes}`]
  return [prlimit, '--core=1:1', ...memory, '--', ...command]
}

/**
 * Limits the processes of an instance, once it has a user namespace of its own: a limit from before
 * would be one on all that its user runs on the machine.
 * @param pid - Its first process.
 * @throws LaunchError SANDBOX
 */
export function limitProcesses(pid: number, { processes }: Partial<InstanceLimits>): void {
  const prlimit = executableOf(PRLIMIT)
  if (processes === undefined || prlimit === undefined) return
  const { status } = spawnSync(prlimit, ['--pid', `${pid}`, `--nproc=${processes}:${processes}`])
  if (status !== 0) throw new LaunchError('SANDBOX', 'its number of processes could not be limited')
}
