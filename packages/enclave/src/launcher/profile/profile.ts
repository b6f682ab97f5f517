import type { LaunchEvent } from '../event.ts'
import type { Limiter } from '../isolation.ts'
import type { LaunchResult } from '../launch.ts'
import { type GroupMemory, memoryOfGroup } from './group-memory.ts'
import { countProcesses } from './processes.ts'

/** What a run took at its most. */
export interface InstanceProfile {
  /**
   * Memory of processes, their code and what else they map of files, and files in memory: what an
   * enclave has to hold. Not what the kernel keeps of files that were read.
   */
  readonly peakMemoryBytes: number
  /** Who counted it: the instance's control group, or its processes one by one. */
  readonly memoryBy: Exclude<Limiter, 'rlimit' | 'none'> | 'processes'
  readonly peakProcesses: number
  /** Init's among them. */
  readonly peakThreads: number
}

/** What to write under `resources`. */
export interface AdvisedResources {
  readonly memoryMiB: number
  readonly threads: number
}

const EVERY_MS = 20
const MIB = 1024 * 1024

/** Room above what one run took: the next has other data. */
const MARGIN = 1.25
const MEMORY_STEP_MIB = 64
/** Gramine's own. @see Gramine, Documentation/manifest-syntax.rst, "Number of threads" */
const LIBOS_THREADS = 3
const THREAD_STEP = 4

/**
 * Watches what an instance takes while it runs, fifty times a second; what is over sooner may be
 * missed.
 * @param launch - Runs it, and tells what happens.
 */
export async function profiled(
  launch: (onEvent: (event: LaunchEvent) => void) => Promise<LaunchResult>,
  onEvent: (event: LaunchEvent) => void = () => {},
): Promise<{ readonly result: LaunchResult; readonly profile: InstanceProfile }> {
  const peaks = { memoryBytes: 0, residentBytes: 0, processes: 0, threads: 0 }
  let group: GroupMemory | undefined
  let timer: NodeJS.Timeout | undefined
  const look = (pid: number) => {
    const { processes, threads, residentBytes, mappedBytes } = countProcesses(pid)
    group ??= memoryOfGroup(pid)
    const own = group?.now() ?? 0
    // Each enclave has a copy of its own of what processes share.
    if (own > 0) peaks.memoryBytes = Math.max(peaks.memoryBytes, own + mappedBytes)
    peaks.residentBytes = Math.max(peaks.residentBytes, residentBytes)
    peaks.processes = Math.max(peaks.processes, processes)
    peaks.threads = Math.max(peaks.threads, threads)
  }
  try {
    const result = await launch(event => {
      if (event.kind === 'started') timer = setInterval(look, EVERY_MS, event.pid)
      onEvent(event)
    })
    const isByGroup = group !== undefined && peaks.memoryBytes > 0
    const profile: InstanceProfile = {
      peakMemoryBytes: isByGroup ? peaks.memoryBytes : peaks.residentBytes,
      memoryBy: isByGroup && group !== undefined ? group.by : 'processes',
      peakProcesses: peaks.processes,
      peakThreads: Math.max(peaks.threads, result.usage.peakProcesses ?? 0),
    }
    return { result, profile }
  } finally {
    clearInterval(timer)
  }
}

/** What a run asks for that took so much, with room for the next. */
export function advisedResources(profile: InstanceProfile): AdvisedResources {
  const { peakMemoryBytes, peakThreads } = profile
  return {
    memoryMiB: roundedUp((peakMemoryBytes * MARGIN) / MIB, MEMORY_STEP_MIB),
    threads: roundedUp(peakThreads * MARGIN + LIBOS_THREADS, THREAD_STEP),
  }
}

function roundedUp(value: number, step: number): number {
  return Math.max(1, Math.ceil(value / step)) * step
}
