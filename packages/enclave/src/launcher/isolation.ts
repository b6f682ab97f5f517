/**
 * How far an instance is shut in. `two-users`: sandbox, program and init are different users;
 * `one-user`: sandbox, they are the same; `none`: a plain process.
 */
export type Confinement = 'two-users' | 'one-user' | 'none'

/**
 * What holds a limit: the kernel for the instance as a whole (`cgroup-v1`, `cgroup-v2`), or for each
 * of its processes by itself (`rlimit`).
 */
export type Limiter = 'cgroup-v2' | 'cgroup-v1' | 'rlimit' | 'none'

/** Something that an instance would have elsewhere. */
export interface Lack {
  /** Stable, for programs. */
  readonly code:
    | 'SANDBOX'
    | 'USERS'
    | 'SYSTEM_CALLS'
    | 'MEMORY_LIMIT'
    | 'PROCESS_LIMIT'
    | 'MOUNTS'
    | 'LEFTOVERS'
    | 'PLAINTEXT_ON_DISK'
  /** For people: what can happen that could not otherwise. */
  readonly message: string
}

/** What shuts an instance in on this machine. It protects the machine from the program. */
export interface Isolation {
  readonly sandbox: 'bubblewrap' | 'none'
  readonly confinement: Confinement
  readonly systemCalls: 'filtered' | 'any'
  readonly limits: { readonly memory: Limiter; readonly processes: Limiter }
  /** Empty where nothing is missing. */
  readonly missing: readonly Lack[]
}

const LACKS: Readonly<Record<Lack['code'], string>> = {
  SANDBOX:
    'no sandbox: the program sees and changes this machine as you do: files, processes, network',
  USERS: 'one user: the program can read the memory of init, with data keys and the signing key',
  SYSTEM_CALLS: 'no system call filter: the program can make use of faults of the kernel',
  MEMORY_LIMIT: 'no memory limit over the whole instance',
  PROCESS_LIMIT: 'no limit on processes over the whole instance',
  MOUNTS:
    'no mounts: data are in another folder than the image says; only arguments and environment are told',
  PLAINTEXT_ON_DISK: 'plaintext lies on the disk while the program runs',
  LEFTOVERS: 'processes that the program leaves running go on, and may change results',
}

/** Says what shuts an instance in, and from that what is missing. */
export function isolationOf(
  had: Omit<Isolation, 'missing'>,
  isPlaintextInMemory: boolean,
): Isolation {
  const isPlain = had.sandbox === 'none'
  const codes: readonly (readonly [Lack['code'], boolean])[] = [
    ['SANDBOX', isPlain],
    ['USERS', had.confinement !== 'two-users'],
    ['SYSTEM_CALLS', had.systemCalls === 'any'],
    ['MEMORY_LIMIT', !had.limits.memory.startsWith('cgroup')],
    ['PROCESS_LIMIT', !had.limits.processes.startsWith('cgroup')],
    ['MOUNTS', isPlain],
    ['LEFTOVERS', isPlain],
    ['PLAINTEXT_ON_DISK', isPlain && !isPlaintextInMemory],
  ]
  const missing = codes.flatMap(([code, lacks]) => (lacks ? { code, message: LACKS[code] } : []))
  return { ...had, missing }
}
