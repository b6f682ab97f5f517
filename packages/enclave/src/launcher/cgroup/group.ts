import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Limiter } from '../isolation.ts'
import { kernelFile } from '../kernel-file.ts'
import { type GroupPlace, groupPlaces } from './places.ts'

/** What an instance may use at most. */
export interface InstanceLimits {
  readonly memoryBytes: number
  /** Processes and threads. */
  readonly processes: number
}

/** What an instance used, as far as the kernel kept count. */
export interface InstanceUsage {
  /** Most memory at a time, files in memory among it. */
  readonly peakMemoryBytes?: number
  /** Most processes and threads at a time. */
  readonly peakProcesses?: number
  /** Processes that were ended because memory ran out. */
  readonly memoryKills?: number
}

/** Files of a group by version, and what goes into them. */
interface Control {
  readonly controller: 'memory' | 'pids'
  readonly limits: Readonly<
    Record<1 | 2, readonly (readonly [file: string, value: string, needed: boolean])[]>
  >
}

const MEMORY = ({ memoryBytes }: InstanceLimits): Control => ({
  controller: 'memory',
  limits: {
    1: [
      ['memory.limit_in_bytes', `${memoryBytes}`, true],
      // Without it what does not fit would go to the disk; absent where swap is not counted.
      ['memory.memsw.limit_in_bytes', `${memoryBytes}`, false],
    ],
    2: [
      ['memory.max', `${memoryBytes}`, true],
      ['memory.swap.max', '0', false],
    ],
  },
})

const PIDS = ({ processes }: InstanceLimits): Control => ({
  controller: 'pids',
  limits: { 1: [['pids.max', `${processes}`, true]], 2: [['pids.max', `${processes}`, true]] },
})

const EMPTYING_MS = 2000
const PAUSE_MS = 10

/** Control groups of one instance, in which the kernel counts and limits what it uses. */
export class InstanceGroup {
  /** Who holds the memory limit. */
  readonly memory: Limiter
  /** Who holds the limit on processes. */
  readonly processes: Limiter
  /** Folders of the groups, for whoever must remove them. */
  readonly folders: readonly string[]

  private constructor(made: ReadonlyMap<Control['controller'], readonly [string, 1 | 2]>) {
    const limiter = (controller: Control['controller']): Limiter => {
      const version = made.get(controller)?.[1]
      return version === undefined ? 'none' : `cgroup-v${version}`
    }
    this.memory = limiter('memory')
    this.processes = limiter('pids')
    this.folders = [...new Set([...made.values()].map(([folder]) => folder))]
  }

  /**
   * Makes groups where this machine and user allow it; what could not be had is `none`.
   * @param name - A name that no other group has.
   * @param places - Where groups may be made; found out unless given.
   */
  static make(name: string, limits: InstanceLimits, places = ownPlaces()): InstanceGroup {
    const made = new Map<Control['controller'], readonly [string, 1 | 2]>()
    for (const control of [MEMORY(limits), PIDS(limits)]) {
      const found = places
        .filter(place => place.version === 2 || place.controllers.includes(control.controller))
        .map(place => [limitedGroup(place, name, control), place.version] as const)
        .find(([folder]) => folder !== undefined)
      if (found?.[0] !== undefined) made.set(control.controller, [found[0], found[1]])
    }
    return new InstanceGroup(made)
  }

  /** Puts a process, and all that it starts from now on, into the groups. */
  add(pid: number): void {
    for (const folder of this.folders) writeFileSync(join(folder, 'cgroup.procs'), `${pid}`)
  }

  /** What was used until now. */
  usage(): InstanceUsage {
    const [peakMemoryBytes, peakProcesses, memoryKills] = [
      this.#number(['memory.peak', 'memory.max_usage_in_bytes']),
      this.#number(['pids.peak']),
      this.#entry(['memory.events', 'memory.oom_control'], 'oom_kill'),
    ]
    return {
      ...(peakMemoryBytes === undefined ? {} : { peakMemoryBytes }),
      ...(peakProcesses === undefined ? {} : { peakProcesses }),
      ...(memoryKills === undefined ? {} : { memoryKills }),
    }
  }

  /** Removes the groups, once the instance's processes have gone. */
  async remove(): Promise<void> {
    for (const folder of this.folders) await removeGroup(folder)
  }

  #number(names: readonly string[]): number | undefined {
    const text = this.#read(names)?.trim()
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
  }

  #entry(names: readonly string[], key: string): number | undefined {
    const value = new RegExp(`^${key} (\\d+)$`, 'm').exec(this.#read(names) ?? '')?.[1]
    return value === undefined ? undefined : Number(value)
  }

  #read(names: readonly string[]): string | undefined {
    const paths = this.folders.flatMap(folder => names.map(name => join(folder, name)))
    return paths.map(kernelFile).find(text => text !== undefined)
  }
}

/** Removes a group. The kernel refuses as long as a process is in it, dead or alive. */
export async function removeGroup(folder: string): Promise<void> {
  const deadline = performance.now() + EMPTYING_MS
  for (;;) {
    try {
      rmdirSync(folder)
      return
    } catch {
      if (!existsSync(folder) || performance.now() > deadline) return
    }
    await sleep(PAUSE_MS)
  }
}

/** Where this process may make groups. */
export function ownPlaces(): readonly GroupPlace[] {
  return groupPlaces(
    kernelFile('/proc/self/cgroup') ?? '',
    kernelFile('/proc/self/mountinfo') ?? '',
  )
}

/** Makes a group as near to this process's own as may be, and sets a limit in it. */
function limitedGroup(
  { version, folders }: GroupPlace,
  name: string,
  { limits }: Control,
): string | undefined {
  for (const around of folders) {
    const folder = join(around, name)
    const isNew = !existsSync(folder)
    try {
      if (isNew) mkdirSync(folder)
      for (const [file, value, needed] of limits[version]) {
        const path = join(folder, file)
        // A file that is not there would be made in no cgroup file system: the controller is off.
        if (existsSync(path)) writeFileSync(path, value)
        else if (needed) throw new Error(`${path} is not there`)
      }
      return folder
    } catch {
      if (isNew) removeQuietly(folder)
    }
  }
  return undefined
}

function removeQuietly(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // It was never made.
  }
}
