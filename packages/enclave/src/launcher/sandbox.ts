import { existsSync } from 'node:fs'
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Mounts } from '../definition/mounts.ts'
import { connectionsOf, INSTANCE_HOST } from '../definition/network.ts'
import { type ImageManifest, MOUNT_POINTS } from '../image/manifest.ts'
import { PROGRAM_UID } from '../instance/layout.ts'
import type { Confinement } from './isolation.ts'

/** A sandbox's users. */
export type Users = Exclude<Confinement, 'none'>

const MIB = 1024 * 1024

/** Folders of an image's root that are empty in it, and the instance's own when it runs. */
const OWN_NAMES = new Set<string>(MOUNT_POINTS)

/** Capabilities of init in its own user namespace: to become the program, and to reach its files. */
const INIT_CAPABILITIES = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID']

/** What leads to the other instances of a job, and lets them in. */
export interface PeerSockets {
  /** Socket of the launcher's. */
  readonly socket: string
  /** Folder in which init makes its own. */
  readonly inboundFolder: string
}

/** What a sandbox is made of. */
export interface SandboxPlan {
  readonly users: Users
  /** The image's tree. */
  readonly rootFolder: string
  readonly manifest: ImageManifest
  /** Folder with the job file and what else init reads. */
  readonly jobFolder: string
  /** Socket that leads to the key service. */
  readonly kmsSocket: string
  /** Socket that leads to the hosts that the image names, where it names any. */
  readonly networkSocket: string | undefined
  /** What leads to the other instances of the job, where there are any. */
  readonly peers: PeerSockets | undefined
  /** Host folders by dataset name. */
  readonly inputs: Readonly<Record<string, string>>
  /** Host folders by dataset name. */
  readonly outputs: Readonly<Record<string, string>>
  /** Host folders by the names of the image's `unprotectedHostFolders`. */
  readonly hostFolders: Readonly<Record<string, string>>
  /** Most that each of the instance's memory-backed folders may hold, where the image says nothing. */
  readonly memoryMiB: number
}

/** Descriptor on which bubblewrap says the instance's process id. */
export const INFO_FD = 5

/** Descriptor on which the instance waits until it may begin. */
export const BLOCK_FD = 6

/** Descriptor from which bubblewrap reads the system call filter. */
export const FILTER_FD = 7

/**
 * Command line of bubblewrap: every namespace of its own, nothing of the host's tree but what is
 * named, no capability beyond init's, an empty environment.
 * @param isFiltered - Whether a system call filter is given on {@link FILTER_FD}.
 */
export async function bubblewrapArguments(
  plan: SandboxPlan,
  isFiltered: boolean,
): Promise<readonly string[]> {
  const { manifest, memoryMiB } = plan
  // Sealed files and sockets are init's, where the program does not open sealed files itself.
  const privately = manifest.entry.interface === 'files' ? '0700' : '0755'
  return [
    ...['--unshare-all', '--unshare-user', '--die-with-parent', '--new-session', '--as-pid-1'],
    ...['--hostname', INSTANCE_HOST, '--clearenv', '--chdir', '/'],
    ...userArguments(plan.users, manifest.network !== 'none'),
    ...(isFiltered ? ['--seccomp', `${FILTER_FD}`] : []),
    ...(await rootArguments(plan.rootFolder)),
    ...['--proc', '/proc'],
    ...kernelArguments(),
    ...deviceArguments(plan),
    ...memoryFolder('/dev/shm', '1777', memoryMiB),
    ...memoryFolder('/tmp', '1777', memoryMiB),
    ...memoryFolder('/run', privately, 1),
    ...['--bind', plan.kmsSocket, '/run/kms.sock'],
    ...(plan.networkSocket === undefined
      ? []
      : ['--bind', plan.networkSocket, '/run/network.sock']),
    ...(plan.peers === undefined
      ? []
      : [
          ...['--bind', plan.peers.socket, '/run/peers.sock'],
          ...['--bind', plan.peers.inboundFolder, '/run/inbound'],
        ]),
    ...['--ro-bind', plan.jobFolder, '/job'],
    // Of itself bubblewrap makes folders for its own user alone.
    ...['--perms', privately, '--dir', '/in', '--perms', privately, '--dir', '/out'],
    ...Object.entries(plan.inputs).flatMap(([name, from]) => ['--ro-bind', from, `/in/${name}`]),
    ...Object.entries(plan.outputs).flatMap(([name, to]) => ['--bind', to, `/out/${name}`]),
    ...mountArguments(manifest.mounts, plan),
    ...['--remount-ro', '/', '--', ...manifest.entry.init],
  ]
}

/** What the image mounts over its tree. */
function mountArguments(mounts: Mounts, plan: SandboxPlan): readonly string[] {
  const { memoryMiB, hostFolders } = plan
  return [
    ...(mounts.inputs ?? []).flatMap(({ to }) => memoryFolder(to, '0755', memoryMiB)),
    ...(mounts.outputs ?? []).flatMap(({ to }) => memoryFolder(to, '0700', memoryMiB)),
    ...[...(mounts.scratch ?? []), ...(mounts.memory ?? [])].flatMap(({ to, sizeMiB }) =>
      memoryFolder(to, '1777', sizeMiB),
    ),
    ...(mounts.unprotectedHostFolders ?? []).flatMap(({ name, to, writable }) => {
      const from = hostFolders[name]
      return from === undefined ? [] : [writable === true ? '--bind' : '--ro-bind', from, to]
    }),
  ]
}

function memoryFolder(path: string, mode: string, sizeMiB: number): readonly string[] {
  return ['--perms', mode, '--size', `${sizeMiB * MIB}`, '--tmpfs', path]
}

/** Command line that tells whether a confinement is to be had here. */
export function probeArguments(users: Users): readonly string[] {
  return [
    ...['--unshare-all', '--unshare-user', '--die-with-parent', '--as-pid-1', '--clearenv'],
    ...userArguments(users),
    ...['--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '--', '/bin/true'],
  ]
}

/** What a program is to the host, in a sandbox of two users. */
export type ProgramOutside = 'launcher' | 'stranger'

/** A user of the host that has no name and owns nothing. */
const STRANGER_UID = PROGRAM_UID - 1

/**
 * A program is nobody to the host, unless it has to do with the host's files by itself: sealed files
 * that it opens, folders that the image asks for.
 */
export function programOutside({ entry, mounts }: ImageManifest): ProgramOutside {
  const isAmongHostFiles =
    entry.interface !== 'files' || (mounts.unprotectedHostFolders ?? []).length > 0
  return isAmongHostFiles ? 'launcher' : 'stranger'
}

/**
 * User ids of a sandbox with two users, as the kernel takes them: inside, init is 0 and the program
 * is {@link PROGRAM_UID}; outside, init is nobody, and the program is the launcher's user or a
 * stranger. The others are themselves, so that init may reach their files.
 */
export function idMap(launcherId: number, program: ProgramOutside): string {
  const isStranger = program === 'stranger'
  const mapped = isStranger
    ? `${PROGRAM_UID} ${STRANGER_UID} 1\n${STRANGER_UID} ${launcherId} 1\n`
    : `${PROGRAM_UID} ${launcherId} 1\n`
  const others = (isStranger ? STRANGER_UID : PROGRAM_UID) - 1
  return `0 ${PROGRAM_UID} 1\n${mapped}${launcherId === 0 ? `1 1 ${others}\n` : ''}`
}

/** Ports below are for whoever owns the network: Linux's ip_unprivileged_port_start. */
const FIRST_ORDINARY_PORT = 1024

const DEVICES = ['full', 'null', 'random', 'tty', 'urandom', 'zero'] as const
const STREAMS = { fd: '', stdin: '/0', stdout: '/1', stderr: '/2' } as const

/**
 * Devices that hold nothing. For the terminals among them bubblewrap makes, where it is not root, a
 * second user namespace, and who is in that does not own the network, so that init could not take
 * connections at an ordinary service's port: then there are none.
 */
function deviceArguments({ users, manifest }: SandboxPlan): readonly string[] {
  const isLow = connectionsOf(manifest.network).some(({ port }) => port < FIRST_ORDINARY_PORT)
  if (users === 'two-users' || !isLow) return ['--dev', '/dev']
  return [
    ...['--perms', '0755', '--tmpfs', '/dev'],
    ...DEVICES.flatMap(name => ['--dev-bind', `/dev/${name}`, `/dev/${name}`]),
    ...Object.entries(STREAMS).flatMap(([name, stream]) => [
      ...['--symlink', `/proc/self/fd${stream}`, `/dev/${name}`],
    ]),
  ]
}

/** Below /proc: settings of the kernel, which it lets the host's root change whatever it may else. */
const KERNEL_SETTINGS = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'] as const

/** Below /proc: what the kernel knows of the whole machine, folders and files. */
const MACHINE_FOLDERS = ['acpi', 'asound', 'scsi'] as const
const MACHINE_FILES = [
  ...['kcore', 'keys', 'kpagecgroup', 'kpagecount', 'kpageflags', 'latency_stats'],
  ...['sched_debug', 'slabinfo', 'timer_list', 'timer_stats', 'vmallocinfo'],
] as const

/**
 * Shuts what is the whole machine's in an instance's /proc, as container run-times do: where the
 * launcher is root, a program that is its user to the host may write there without any capability.
 * Bubblewrap shuts some of it, but only where its own user could write there.
 * @see OCI run-time specification, `linux.maskedPaths` and `linux.readonlyPaths`
 */
function kernelArguments(): readonly string[] {
  const here = (names: readonly string[]) =>
    names.map(name => `/proc/${name}`).filter(path => existsSync(path))
  return [
    ...here(KERNEL_SETTINGS).flatMap(path => ['--ro-bind', path, path]),
    ...here(MACHINE_FOLDERS).flatMap(path => ['--tmpfs', path, '--remount-ro', path]),
    ...here(MACHINE_FILES).flatMap(path => ['--ro-bind', '/dev/null', path]),
  ]
}

function userArguments(users: Users, hasNetwork = false): readonly string[] {
  const bind = hasNetwork ? ['--cap-add', 'CAP_NET_BIND_SERVICE'] : []
  const drop = ['--cap-drop', 'ALL', ...bind, '--info-fd', `${INFO_FD}`]
  if (users === 'one-user') return [...drop, '--block-fd', `${BLOCK_FD}`]
  return [
    ...drop,
    ...INIT_CAPABILITIES.flatMap(capability => ['--cap-add', capability]),
    ...['--uid', '0', '--gid', '0', '--userns-block-fd', `${BLOCK_FD}`],
  ]
}

/** Each entry of the image's root by itself: the rest of the instance's root belongs to nobody. */
async function rootArguments(rootFolder: string): Promise<readonly string[]> {
  const entries = await readdir(rootFolder, { withFileTypes: true })
  const bound = entries
    .filter(({ name }) => !OWN_NAMES.has(name))
    .map(async entry => {
      const path = join(rootFolder, entry.name)
      return entry.isSymbolicLink()
        ? ['--symlink', await readlink(path), `/${entry.name}`]
        : ['--ro-bind', path, `/${entry.name}`]
    })
  return (await Promise.all(bound)).flat()
}
