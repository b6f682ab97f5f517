import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { CLOISTER, REPOSITORY } from '../repository.test.support.ts'

/** A container, in as much of its form as is used here. */
export interface Container {
  readonly name: string
  readonly command: readonly string[]
  readonly args?: readonly string[]
  /** Those without a value get theirs from the pod. */
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
  readonly volumeMounts: readonly {
    readonly name: string
    readonly mountPath: string
    readonly readOnly?: true
  }[]
  readonly securityContext?: { readonly procMount?: string }
}

/** The parts of a Linux system that the image has. */
const IMAGE = ['/usr', '/bin', '/lib', '/lib64', '/etc/ssl', '/etc/hosts', '/etc/nsswitch.conf']

/** Where the command is in a container, and all that it is made of: no volume is mounted over it. */
const BIN = '/opt/cloister/bin'
const PROGRAM = '/opt/cloister/program'

/** A process that runs, and how it is ended. */
export interface RunningContainer {
  /** The first line of its standard output for which this holds. */
  line(holds: (line: string) => boolean): Promise<string>
  readonly stderr: readonly string[]
  readonly exited: Promise<number | null>
  terminate(): void
}

/**
 * Runs a container of a pod as Kubernetes would, as far as bubblewrap goes: its command and
 * environment and nothing else, its user, a root that is read-only, and its volumes where they are
 * mounted. The network is the machine's.
 * @param folder - Where what the image has beside the system is put
 * @param volumes - The folder of each volume
 */
export async function runContainer(
  container: Container,
  folder: string,
  volumes: Readonly<Record<string, string>>,
): Promise<RunningContainer> {
  const bin = join(folder, 'bin')
  await mkdir(bin, { recursive: true })
  const command = join(PROGRAM, relative(REPOSITORY, CLOISTER))
  await symlink(command, join(bin, 'cloister')).catch(() => undefined)
  const mounts = container.volumeMounts.flatMap(({ name, mountPath, readOnly }) => {
    const from = volumes[name]
    if (from === undefined) throw new Error(`there is no volume ${name}`)
    return [readOnly === true ? '--ro-bind' : '--bind', from, mountPath]
  })
  const argv = [
    ...['--unshare-user', '--unshare-ipc', '--uid', '10001', '--gid', '10001', '--die-with-parent'],
    ...['--cap-drop', 'ALL', '--clearenv', '--dev', '/dev'],
    // What is masked in it, bubblewrap's own way here, keeps others from being mounted.
    ...(container.securityContext?.procMount === 'Unmasked'
      ? ['--bind', '/proc', '/proc']
      : ['--proc', '/proc']),
    ...IMAGE.flatMap(path => ['--ro-bind-try', path, path]),
    ...['--ro-bind', dirname(process.execPath), dirname(process.execPath)],
    ...['--ro-bind', REPOSITORY, PROGRAM, '--ro-bind', bin, BIN],
    ...mounts,
    ...['--remount-ro', '/', '--chdir', '/'],
    ...['--setenv', 'PATH', `${BIN}:${dirname(process.execPath)}:/usr/bin:/bin`],
    ...(container.env ?? []).flatMap(({ name, value }) => [
      '--setenv',
      name,
      value ?? 'of-the-pod',
    ]),
    ...['--json-status-fd', '3', '--', ...container.command, ...(container.args ?? [])],
  ]
  const child = spawn('bwrap', argv, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] })
  return await watched(child)
}

async function watched(child: ChildProcess): Promise<RunningContainer> {
  const { stderr, stdout, stdio } = child
  const status = stdio[3]
  if (stdout === null || stderr === null || status == null || !('on' in status)) {
    throw new Error('the container has no streams')
  }
  const lines: string[] = []
  const wanted = new Set<() => void>()
  createInterface({ input: stdout }).on('line', line => {
    lines.push(line)
    for (const look of wanted) look()
  })
  const said: string[] = []
  createInterface({ input: stderr }).on('line', line => said.push(line))
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  const [first] = await once(createInterface({ input: status as Readable }), 'line')
  const pid: number = JSON.parse(first)['child-pid']
  return {
    line: async holds =>
      await new Promise((resolve, reject) => {
        const look = () => {
          const found = lines.find(holds)
          if (found !== undefined) resolve(found)
        }
        wanted.add(look)
        look()
        void exited.then(code => reject(new Error(`ended with ${code}: ${said.join('\n')}`)))
      }),
    stderr: said,
    exited,
    terminate: () => {
      process.kill(pid, 'SIGTERM')
    },
  }
}
