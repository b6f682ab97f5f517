import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { MOUNT_POINTS } from '../image/manifest.ts'
import { PROGRAM_UID } from '../instance/layout.ts'

const MIB = 1024 * 1024

/** Folders of an image's root that are empty in it, and the instance's own when it runs. */
const OWN_NAMES = new Set<string>(MOUNT_POINTS)

/** Capabilities of init in its own user namespace: to become the program, and to reach its files. */
const INIT_CAPABILITIES = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID']

/**
 * How far an instance is shut in. `two-users`: sandbox, program and init are different users;
 * `one-user`: sandbox, they are the same; `none`: a plain process.
 */
export type Confinement = 'two-users' | 'one-user' | 'none'

/** What a sandbox is made of. */
export interface SandboxPlan {
  readonly confinement: 'two-users' | 'one-user'
  /** The image's tree. */
  readonly rootFolder: string
  /** Folder with the job file and what else init reads. */
  readonly jobFolder: string
  /** Socket that leads to the key service. */
  readonly kmsSocket: string
  /** Host folders by dataset name. */
  readonly inputs: Readonly<Record<string, string>>
  /** Host folders by dataset name. */
  readonly outputs: Readonly<Record<string, string>>
  /** Most that each of the instance's memory-backed folders may hold. */
  readonly scratchMiB: number
  /** Init's command line. */
  readonly command: readonly string[]
}

/** Descriptor on which bubblewrap says the instance's process id. */
export const INFO_FD = 5

/** Descriptor on which bubblewrap waits until user ids are mapped. */
export const USER_NAMESPACE_FD = 6

/**
 * Command line of bubblewrap: every namespace of its own, nothing of the host's tree but what is
 * named, no capability beyond init's, an empty environment.
 */
export async function bubblewrapArguments(plan: SandboxPlan): Promise<readonly string[]> {
  const size = `${plan.scratchMiB * MIB}`
  return [
    ...['--unshare-all', '--unshare-user', '--die-with-parent', '--new-session', '--as-pid-1'],
    ...['--hostname', 'cloister', '--clearenv', '--chdir', '/'],
    ...userArguments(plan.confinement),
    ...(await rootArguments(plan.rootFolder)),
    ...['--proc', '/proc', '--dev', '/dev'],
    ...['--perms', '1777', '--size', size, '--tmpfs', '/dev/shm'],
    ...['--perms', '1777', '--size', size, '--tmpfs', '/tmp'],
    ...['--perms', '0755', '--size', `${MIB}`, '--tmpfs', '/run'],
    ...['--bind', plan.kmsSocket, '/run/kms.sock'],
    ...['--ro-bind', plan.jobFolder, '/job'],
    // Of itself bubblewrap makes folders for its own user alone.
    ...['--perms', '0755', '--dir', '/in', '--perms', '0755', '--dir', '/out'],
    ...Object.entries(plan.inputs).flatMap(([name, from]) => ['--ro-bind', from, `/in/${name}`]),
    ...Object.entries(plan.outputs).flatMap(([name, to]) => ['--bind', to, `/out/${name}`]),
    ...['--remount-ro', '/', '--', ...plan.command],
  ]
}

/** Command line that tells whether a confinement is to be had here. */
export function probeArguments(confinement: 'two-users' | 'one-user'): readonly string[] {
  return [
    ...['--unshare-all', '--unshare-user', '--die-with-parent', '--as-pid-1', '--clearenv'],
    ...userArguments(confinement),
    ...['--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '--', '/bin/true'],
  ]
}

/**
 * User ids of a sandbox with two users, as the kernel takes them: inside, init is 0 and the program
 * is {@link PROGRAM_UID}; outside, the program is the launcher's user and so may use the folders
 * given, and init is nobody. The others are themselves, so that init may reach their files.
 */
export function idMap(launcherId: number): string {
  const swapped = `0 ${PROGRAM_UID} 1\n${PROGRAM_UID} ${launcherId} 1\n`
  return launcherId === 0 ? `${swapped}1 1 ${PROGRAM_UID - 1}\n` : swapped
}

function userArguments(confinement: 'two-users' | 'one-user'): readonly string[] {
  const drop = ['--cap-drop', 'ALL', '--info-fd', `${INFO_FD}`]
  if (confinement === 'one-user') return drop
  return [
    ...drop,
    ...INIT_CAPABILITIES.flatMap(capability => ['--cap-add', capability]),
    ...['--uid', '0', '--gid', '0', '--userns-block-fd', `${USER_NAMESPACE_FD}`],
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
