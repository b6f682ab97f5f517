import { readdirSync } from 'node:fs'
import { kernelFile } from '../kernel-file.ts'

/** What an instance's processes are at one moment. */
export interface ProcessCount {
  readonly processes: number
  readonly threads: number
  /** The most that each of them has had in memory, summed. */
  readonly residentBytes: number
  /** What each of them has mapped of files and has read, such as its code, summed. */
  readonly mappedBytes: number
}

const KIB = 1024

/** A process and all that it started, and these in turn. */
function familyOf(pid: number, proc: string): readonly number[] {
  const family = [pid]
  for (const member of family) {
    for (const task of namesIn(`${proc}/${member}/task`)) {
      const children = kernelFile(`${proc}/${member}/task/${task}/children`) ?? ''
      family.push(...children.split(' ').filter(Boolean).map(Number))
    }
  }
  return family
}

/**
 * Counts what runs below a process. What ends meanwhile is left out.
 * @param pid - An instance's first process, as the host sees it.
 */
export function countProcesses(pid: number, proc = '/proc'): ProcessCount {
  const count = { processes: 0, threads: 0, residentBytes: 0, mappedBytes: 0 }
  for (const member of familyOf(pid, proc)) {
    const status = kernelFile(`${proc}/${member}/status`) ?? ''
    const threads = numberIn(status, 'Threads')
    if (threads === undefined) continue
    count.processes += 1
    count.threads += threads
    // What has ended, and waits for somebody to ask how, has none.
    count.residentBytes += (numberIn(status, 'VmHWM') ?? 0) * KIB
    count.mappedBytes += (numberIn(status, 'RssFile') ?? 0) * KIB
  }
  return count
}

function numberIn(status: string, name: string): number | undefined {
  const digits = new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
