import { randomBytes } from 'node:crypto'
import { seccompFilter } from '../seccomp/filter.ts'
import { InstanceGroup } from './cgroup/group.ts'
import type { Limiter } from './isolation.ts'
import { kernelFile } from './kernel-file.ts'
import { hasMemoryLimits, hasProcessLimits, limiterOf } from './process-limits.ts'
import { groupName } from './run-folder.ts'

/** Limits that can be set for an instance here, and who holds them. */
export interface LimitsHere {
  readonly memory: Limiter
  readonly processes: Limiter
}

const TRIED = { memoryBytes: 256 * 1024 * 1024, processes: 64 }

/**
 * Finds out by making a control group as for an instance, and removing it again.
 * @param name - Of the group; one that nobody has unless given.
 */
export async function limitsHere(
  name: string = groupName(randomBytes(8).toString('hex')),
): Promise<LimitsHere> {
  const group = InstanceGroup.make(name, TRIED)
  await group.remove()
  return {
    memory: limiterOf(group.memory, hasMemoryLimits()),
    processes: limiterOf(group.processes, hasProcessLimits()),
  }
}

/** Verdicts of the filter. @see Linux, Documentation/userspace-api/seccomp_filter.rst */
const VERDICTS = ['allow', 'errno', 'kill_process'] as const

/**
 * Why no system call filter is put around instances here; undefined where one is.
 * @param available - What the kernel says it can do; read from it unless given.
 */
export function systemCallFilterFault(
  available = kernelFile('/proc/sys/kernel/seccomp/actions_avail') ?? '',
): string | undefined {
  if (seccompFilter() === undefined) return `there is none for this processor (${process.arch})`
  const missing = VERDICTS.find(verdict => !available.split(/\s+/).includes(verdict))
  return missing === undefined ? undefined : `the kernel has no seccomp verdict ${missing}`
}
