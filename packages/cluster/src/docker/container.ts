import type { Engine } from './engine.ts'

/** A folder or file of the host in a container. */
export interface Mount {
  readonly source: string
  readonly target: string
  readonly isWritable: boolean
}

/** What runs in a container: a sandbox of bubblewrap's, plain processes, or Gramine on SGX. */
export type Inside = 'sandbox' | 'plain' | 'sgx'

/** Who a container's processes are. */
export interface ContainerUser {
  readonly uid: number
  readonly gid: number
}

/** A container for a job. */
export interface ContainerPlan {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Id of the image. */
  readonly image: string
  readonly user: ContainerUser
  readonly mounts: readonly Mount[]
  /** A network of the engine's, `none` for none; undefined for its own choice. */
  readonly network: string | undefined
  readonly inside: Inside
  /** File with the system call filter for `sandbox`. */
  readonly profile: string
  /** Most memory of all its processes; undefined where something else limits it. */
  readonly memoryMiB: number | undefined
  /** Most processes and threads. */
  readonly processes: number
  /** Whether it has this command's standard input. */
  readonly hasInput: boolean
  /** Devices of the host. */
  readonly devices: readonly string[]
  /** Further groups of its user. */
  readonly groups: readonly number[]
  /** Arguments of the command `cloister`. */
  readonly argv: readonly string[]
}

/** What engines put into a container's environment from their own configuration, passwords included. */
const PROXIES = ['http_proxy', 'https_proxy', 'ftp_proxy', 'all_proxy', 'no_proxy']

/**
 * An engine's command line for a container: nothing is fetched, nothing of it is left, no right, no
 * log on the host's disk, nothing in its environment.
 */
export function containerArguments(engine: Engine, plan: ContainerPlan): readonly string[] {
  const { name, labels, image, network, memoryMiB, processes, argv } = plan
  return [
    // A name is never looked up elsewhere: who answers there could be anybody.
    ...['run', '--rm', '--pull', 'never', '--name', name],
    ...Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]),
    ...(plan.hasInput ? ['--interactive'] : []),
    ...(network === undefined ? [] : ['--network', network]),
    ...['--log-driver', 'none', '--read-only', '--cap-drop', 'ALL'],
    ...['--security-opt', 'no-new-privileges'],
    ...(plan.inside === 'sandbox' ? sandboxArguments(engine, plan.profile) : []),
    ...userArguments(engine, plan.user),
    ...plan.groups.flatMap(group => ['--group-add', `${group}`]),
    ...(memoryMiB === undefined
      ? []
      : ['--memory', `${memoryMiB}m`, '--memory-swap', `${memoryMiB}m`]),
    ...['--pids-limit', `${processes}`],
    ...['--tmpfs', '/tmp:rw,nosuid,nodev,exec,mode=1777'],
    // Without a sandbox a copy of the image's programs is run from there.
    ...(plan.inside === 'plain' ? ['--tmpfs', '/dev/shm:rw,nosuid,nodev,exec,mode=1777'] : []),
    ...environmentArguments(engine),
    ...plan.devices.flatMap(device => ['--device', device]),
    ...plan.mounts.flatMap(mount => ['--mount', mountText(mount)]),
    ...['--entrypoint', 'cloister', image, ...argv],
  ]
}

/**
 * What bubblewrap needs in a container: the system calls that make namespaces and mounts, no AppArmor
 * profile that forbids mounts, and a `/proc` of which nothing is covered, as the kernel otherwise lets
 * nobody without rights mount one.
 */
function sandboxArguments({ kind }: Engine, profile: string): readonly string[] {
  const unmasked = kind === 'docker' ? 'systempaths=unconfined' : 'unmask=ALL'
  return [`seccomp=${profile}`, 'apparmor=unconfined', unmasked].flatMap(option => [
    ...['--security-opt', option],
  ])
}

function userArguments({ kind, isRootless }: Engine, { uid, gid }: ContainerUser) {
  if (!isRootless) return ['--user', `${uid}:${gid}`]
  // To a rootless Docker, root is who started it, and anybody else is a stranger.
  if (kind === 'docker') return ['--user', '0:0']
  return ['--userns', 'keep-id', '--user', `${uid}:${gid}`]
}

function environmentArguments({ kind }: Engine): readonly string[] {
  if (kind === 'podman') return ['--http-proxy=false']
  return PROXIES.flatMap(name => ['--env', `${name}=`, '--env', `${name.toUpperCase()}=`])
}

/** As the engines read it: a line of comma-separated values. */
function mountText({ source, target, isWritable }: Mount): string {
  const values = ['type=bind', `source=${source}`, `target=${target}`]
  return [...values, ...(isWritable ? [] : ['readonly'])].map(quoted).join(',')
}

function quoted(value: string): string {
  return /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
}
