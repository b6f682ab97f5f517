import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, realpathSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What a command came to. */
interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A container engine that starts containers here. */
export interface TestEngine {
  readonly command: string
  /** What its command needs in its environment, on top of this process's. */
  readonly env: Readonly<Record<string, string>>
  /** Its image of the command `cloister`. */
  readonly image: string
  readonly ask: (...argv: readonly string[]) => Promise<Ended>
  /** Removes all that it has. */
  readonly stop: () => Promise<void>
}

const CLI = fileURLToPath(new URL('..', import.meta.url))
const IMAGE = 'cloister-of-tests'

/** Programs of the image, beside Node and the command. */
const PROGRAMS = ['/usr/bin/env', '/usr/bin/bwrap', '/usr/bin/prlimit', '/bin/true'] as const

/**
 * Podman with storage of its own, so configured that it works as root in a small virtual machine: it
 * raises no limit and manages no network. Undefined where no container starts.
 */
export async function containerEngine(): Promise<TestEngine | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-engine-'))
  const engine = await podmanIn(folder)
  if ((await engine.ask('--version')).code === 0) {
    await makeTree(join(folder, 'tree'))
    const archive = join(folder, 'image.tar')
    execFileSync('tar', ['--create', '--file', archive, '--directory', join(folder, 'tree'), '.'])
    await engine.ask('import', '--change', 'ENTRYPOINT ["cloister"]', archive, IMAGE)
    const tried = await engine.ask('run', '--rm', '--network', 'none', IMAGE, 'run', '--help')
    if (tried.code === 0) return engine
  }
  await engine.stop()
  return undefined
}

async function podmanIn(folder: string): Promise<TestEngine> {
  const configuration = join(folder, 'containers.conf')
  const storage = join(folder, 'storage.conf')
  // runc takes control groups however they are mounted; crun does not.
  await writeFile(
    configuration,
    `[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`,
  )
  await writeFile(
    storage,
    `[storage]
driver = "overlay"
graphroot = "${folder}/storage"
runroot = "${folder}/run"
`,
  )
  const env = { CONTAINERS_CONF: configuration, CONTAINERS_STORAGE_CONF: storage }
  const ask = (...argv: readonly string[]) =>
    new Promise<Ended>(resolve => {
      const options = { env: { ...process.env, ...env }, maxBuffer: 1 << 24 }
      execFile('podman', argv, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
        resolve({ code, stdout, stderr })
      })
    })
  const stop = async () => {
    await ask('rm', '--all', '--force', '--time', '0')
    await ask('rmi', '--all', '--force')
    await rm(folder, { recursive: true, force: true })
  }
  return { command: 'podman', env, image: IMAGE, ask, stop }
}

/** What deploy/image/Dockerfile makes, as far as jobs need it, of what this machine has. */
async function makeTree(tree: string): Promise<void> {
  const put = (from: string, to: string) => {
    mkdirSync(dirname(join(tree, to)), { recursive: true })
    copyFileSync(realpathSync(from), join(tree, to))
  }
  for (const [from, to] of [
    ...PROGRAMS.map(path => [path, path] as const),
    [process.execPath, '/usr/bin/node'] as const,
  ]) {
    put(from, to)
    const libraries = execFileSync('ldd', [from], { encoding: 'utf8' })
    for (const path of libraries.match(/\/[^ ]+/g) ?? []) put(path, path)
  }
  for (const name of ['proc', 'sys', 'dev', 'tmp', 'run', 'etc']) {
    await mkdir(join(tree, name), { recursive: true })
  }
  await chmod(join(tree, 'tmp'), 0o1777)
  const at = join(tree, 'opt/cloister/packages/cli')
  await cp(join(CLI, 'bin'), join(at, 'bin'), { recursive: true })
  await cp(join(CLI, 'package.json'), join(at, 'package.json'))
  await cp(join(CLI, 'dist'), join(at, 'dist'), {
    recursive: true,
    filter: source => !/\.test\.|\.d\.ts$|\.tsbuildinfo$/.test(basename(source)),
  })
  const link = join(tree, 'usr/local/bin/cloister')
  await mkdir(dirname(link), { recursive: true })
  await symlink('/opt/cloister/packages/cli/bin/cloister.js', link)
}
