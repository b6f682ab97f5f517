import { basename, join } from 'node:path'
import { groupPlaces } from '../cgroup/places.ts'
import { kernelFile } from '../kernel-file.ts'
import { isGroupName } from '../run-folder.ts'

/** The memory of a control group. */
export interface GroupMemory {
  readonly by: 'cgroup-v1' | 'cgroup-v2'
  /** Bytes that processes have for themselves, and files in memory; undefined once it is gone. */
  now(): number | undefined
}

/** Names in `memory.stat`, with the groups below; anonymous memory, then files in memory. */
const FIELDS = { 1: ['total_rss', 'total_shmem'], 2: ['anon', 'shmem'] } as const

/** The group that was made for a process's instance; undefined where none counts its memory. */
export function memoryOfGroup(
  pid: number,
  membership = kernelFile(`/proc/${pid}/cgroup`),
  mountinfo = kernelFile('/proc/self/mountinfo'),
): GroupMemory | undefined {
  return groupPlaces(membership ?? '', mountinfo ?? '')
    .filter(({ folders: [own = ''] }) => isGroupName(basename(own)))
    .map(({ version, folders: [own = ''] }): GroupMemory => {
      const read = () => memoryIn(kernelFile(join(own, 'memory.stat')), FIELDS[version])
      return { by: `cgroup-v${version}`, now: read }
    })
    .find(group => group.now() !== undefined)
}

function memoryIn(stat: string | undefined, fields: readonly string[]): number | undefined {
  const values = fields.map(name => new RegExp(`^${name} (\\d+)$`, 'm').exec(stat ?? '')?.[1])
  if (values.some(value => value === undefined)) return undefined
  return values.reduce((sum, value) => sum + Number(value), 0)
}
