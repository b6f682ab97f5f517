import type { Readable } from 'node:stream'
import type { VerifiedImage } from '../image/verify.ts'
import { seccompFilter } from '../seccomp/filter.ts'
import { InstanceGroup, type InstanceLimits } from './cgroup/group.ts'
import { type Isolation, isolationOf } from './isolation.ts'
import { layOutPlainly } from './plain.ts'
import { hasMemoryLimits, hasProcessLimits, limiterOf } from './process-limits.ts'
import { groupName, type RunFolder } from './run-folder.ts'
import type { PeerSockets, Users } from './sandbox.ts'
import { type StartedInstance, startSandboxed, startWithoutSandbox } from './start.ts'

const MIB = 1024 * 1024

/** Processes and threads, where an image says nothing. */
const DEFAULT_THREADS = 1024

/** Threads of init, which an image's number does not count. */
const INIT_THREADS = 32

/** A way to shut an instance in. */
export type Enclosure =
  | { readonly confinement: Users; readonly bubblewrap: string }
  | { readonly confinement: 'none' }

/** What is shut in. */
export interface EnclosedThings {
  readonly folder: RunFolder
  /** Folder with the job file and what else init reads. */
  readonly jobFolder: string
  /** Socket that leads to the key service. */
  readonly kmsSocket: string
  /** Socket that leads to the hosts that the image names, where it names any. */
  readonly networkSocket: string | undefined
  /** What leads to the other instances of the job, where there are any. */
  readonly peers: PeerSockets | undefined
  readonly image: VerifiedImage
  /** Host folders by dataset name. */
  readonly inputs: Readonly<Record<string, string>>
  /** Host folders by dataset name. */
  readonly outputs: Readonly<Record<string, string>>
  /** Host folders by the image's names. */
  readonly hostFolders: Readonly<Record<string, string>>
  /** What the program reads. */
  readonly stdin: Readable | undefined
  /** Told what shuts the instance in, before it starts. */
  readonly onIsolation: (isolation: Isolation) => void
}

/** A started instance with what shuts it in. */
export interface EnclosedInstance {
  readonly started: StartedInstance
  readonly isolation: Isolation
  readonly group: InstanceGroup
}

/**
 * Starts an instance as far shut in as an enclosure, this machine and this user allow. Like an
 * enclave it has the memory that its image declares, and no more.
 */
export async function encloseInstance(
  enclosure: Enclosure,
  things: EnclosedThings,
): Promise<EnclosedInstance> {
  const { folder, image, stdin } = things
  const { memoryMiB, threads = DEFAULT_THREADS } = image.manifest.resources
  const wanted = { memoryBytes: memoryMiB * MIB, processes: threads + INIT_THREADS }
  const group = InstanceGroup.make(groupName(folder.name), wanted)
  await folder.note(group.folders)
  const isPlain = enclosure.confinement === 'none'
  const filter = isPlain ? undefined : seccompFilter()
  const isolation = isolationOf(
    {
      sandbox: isPlain ? 'none' : 'bubblewrap',
      confinement: enclosure.confinement,
      systemCalls: filter === undefined ? 'any' : 'filtered',
      limits: {
        memory: limiterOf(group.memory, hasMemoryLimits()),
        // A plain process is counted with all that its user runs.
        processes: limiterOf(group.processes, !isPlain && hasProcessLimits()),
      },
    },
    folder.isInMemory,
  )
  things.onIsolation(isolation)
  const options = {
    limits: limitsByProcess(isolation, wanted),
    onBlocked: (pid: number) => group.add(pid),
    hasInput: stdin !== undefined,
  }
  try {
    const started =
      enclosure.confinement === 'none'
        ? await startPlainly(things, options)
        : await startSandboxed(
            enclosure.bubblewrap,
            {
              ...things,
              users: enclosure.confinement,
              rootFolder: image.root,
              manifest: image.manifest,
              memoryMiB,
            },
            { ...options, filter },
          )
    passInput(stdin, started)
    return { started, isolation, group }
  } catch (error) {
    await group.remove()
    throw error
  }
}

async function startPlainly(
  things: EnclosedThings,
  options: Parameters<typeof startWithoutSandbox>[2],
): Promise<StartedInstance> {
  const { base, command } = await layOutPlainly({ ...things, folder: things.folder.path })
  return startWithoutSandbox(command, base, options)
}

function limitsByProcess({ limits }: Isolation, wanted: InstanceLimits): Partial<InstanceLimits> {
  return {
    ...(limits.memory === 'rlimit' ? { memoryBytes: wanted.memoryBytes } : {}),
    ...(limits.processes === 'rlimit' ? { processes: wanted.processes } : {}),
  }
}

function passInput(from: Readable | undefined, { process: child }: StartedInstance): void {
  if (from === undefined || child.stdin === null) return
  // A program may stop reading before the end.
  child.stdin.on('error', () => from.unpipe())
  from.pipe(child.stdin)
}
