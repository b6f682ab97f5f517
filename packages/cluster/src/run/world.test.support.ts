import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stringify } from 'yaml'
import { type Container, type RunningContainer, runContainer } from '../chart/pod.test.support.ts'
import { CLOISTER, REPOSITORY } from '../repository.test.support.ts'

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes.
type Any = any

/** What a command came to. */
export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const PORT = 7078
const LAUNCHER = join(REPOSITORY, 'packages/enclave/src/launcher')
const BROKER = join(LAUNCHER, 'key_broker.test.support.py')

/** Upper-cases parts that the driver names, until there are no more. */
const EXECUTOR = `
import json, socket, sys
from key_broker import *
broker = Broker()
run, job = broker.ask('run'), broker.ask('job')
people, result = job['inputs'][0], job['outputs'][0]
driver = socket.create_connection((run['driver'], ${PORT})).makefile('rw')
print(json.dumps(run['name']), file=driver, flush=True)
for line in driver:
    if line == 'null\\n': sys.exit(0)
    part = json.loads(line)
    text = broker.read(people, part)
    print(json.dumps(broker.write(result, part['path'], text.upper())), file=driver, flush=True)
sys.exit(1)
`

/** Has each executor do a part at least, and commits all; alone it does them itself. */
const DRIVER = `
import json, socket, sys
from key_broker import *
broker = Broker()
run, job = broker.ask('run'), broker.ask('job')
people, result = job['inputs'][0], job['outputs'][0]
parts, written, said = broker.parts('people'), [], []
if run['role'] == 'alone':
    for part in parts:
        written.append(broker.write(result, part['path'], broker.read(people, part).upper()))
else:
    server = socket.create_server((run['address'], ${PORT}))
    streams = []
    for _ in range(run['executors']):
        stream = server.accept()[0].makefile('rw')
        said.append(json.loads(stream.readline()))
        streams.append(stream)
    for number, part in enumerate(parts):
        stream = streams[number % len(streams)]
        print(json.dumps(part), file=stream, flush=True)
        written.append(json.loads(stream.readline()))
    for stream in streams: print('null', file=stream, flush=True)
broker.commit(result, written)
print('by', ' '.join(sorted(said)) or 'itself', sys.argv[1:], flush=True)
`

const DEFINITION = {
  version: 1,
  name: 'upper',
  entry: {
    // Init with this machine's Node: nothing is to be locked.
    init: ['/usr/bin/node', '/cloister/init.mjs'],
    interface: 'keys',
    program: ['/usr/bin/python3', '-I', '/app/driver.py'],
    arguments: [{ pattern: '[a-z]*', optional: true }],
    executor: { program: ['/usr/bin/python3', '-I', '/app/executor.py'], ports: [PORT] },
  },
  files: [
    { from: 'driver.py', to: '/app/driver.py' },
    { from: 'executor.py', to: '/app/executor.py' },
    { from: process.execPath, to: '/usr/bin/node', libraries: true },
    { from: BROKER, to: '/usr/lib/python3.11/key_broker.py' },
    { from: '/usr/bin/python3.11', to: '/usr/bin/python3', libraries: true },
    {
      ...{ from: '/usr/lib/python3.11', to: '/usr/lib/python3.11', libraries: true },
      exclude: [
        ...['config-3.11*', 'test', 'lib2to3', 'distutils', 'pydoc_data', 'idlelib', 'tkinter'],
        ...['__pycache__', 'ensurepip', 'dist-packages', 'EXTERNALLY-MANAGED', '_tkinter*'],
        ...['sitecustomize.py', '_dbm*', '_gdbm*', '_curses*', 'readline*', '_sqlite3*', 'nis*'],
        '_ssl*',
      ].map(name => `**/${name}`),
    },
  ],
  bundles: [
    {
      entry: join(REPOSITORY, 'packages/enclave/dist/init/main.js'),
      to: '/cloister/init.mjs',
    },
  ],
  network: 'none',
  mounts: {},
  identity: { isvProdId: 1, isvSvn: 1 },
  resources: { memoryMiB: 200, threads: 64 },
}

/** What is in the input. */
export const PARTS: Readonly<Record<string, string>> = Object.fromEntries(
  ['a', 'b', 'c', 'd'].map(name => [`${name}.txt`, `a secret that no host reads: ${name}\n`]),
)

/** What the job makes of it. */
export const UPPER = Object.fromEntries(
  Object.entries(PARTS).map(([name, text]) => [name, text.toUpperCase()]),
)

const hasBubblewrap = spawnSync('bwrap', ['--version']).status === 0
const hasPython = existsSync('/usr/bin/python3.11') && existsSync('/usr/lib/python3.11/os.py')

/** Why pods do not run here; empty where they do. */
export const WHY_NO_PODS = `${hasBubblewrap ? '' : ' (skipped: bubblewrap is not installed here)'}${hasPython ? '' : ' (skipped: Debian’s Python 3.11 is not here)'}`

/** Names of the cluster's network, as they are on this machine. */
export const onThisMachine =
  (driver: number, own: number) =>
  ({ command, args = [], ...rest }: Container): Container => {
    const here = (words: readonly string[]) =>
      words.map(word =>
        word
          .replace(/(--driver|--advertise)=upper:7077\b/, `$1=127.0.0.1:${driver}`)
          .replace(/--listen=0\.0\.0\.0:\d+\b/, `--listen=127.0.0.1:${own}`),
      )
    return { ...rest, command: here(command), args: here(args) }
  }

/** A key service, and a folder with a sealed job as a volume claim has it. */
export class RunWorld {
  readonly folder: string
  /** What a claim holds: the job file, its image and its datasets. */
  readonly claim: string
  readonly #stopKms: () => Promise<void>
  #pods = 0
  #opened = 0

  private constructor(folder: string, stopKms: () => Promise<void>) {
    this.folder = folder
    this.claim = join(folder, 'claim')
    this.#stopKms = stopKms
  }

  static async start(): Promise<RunWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-run-'))
    const home = join(folder, 'home')
    const argv = ['--home', home, 'kms', 'serve', '--port', '0', '--allow-simulated-platform']
    const kms = spawn(process.execPath, [CLOISTER, ...argv], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    for await (const line of createInterface({ input: kms.stdout })) {
      if (line.includes('pin:')) break
    }
    const world = new RunWorld(folder, async () => {
      kms.kill('SIGTERM')
      if (kms.exitCode === null) await once(kms, 'exit')
    })
    await world.#fill(home)
    return world
  }

  async stop(): Promise<void> {
    await this.#stopKms()
    await rm(this.folder, { recursive: true, force: true })
  }

  /** The command, as its user gives it in the claim's folder. */
  async cloister(...argv: readonly string[]): Promise<Ended> {
    const all = [CLOISTER, '--home', join(this.folder, 'home'), '--json', ...argv]
    return await new Promise(resolve => {
      const options = { cwd: this.claim, maxBuffer: 1 << 24 }
      execFile(process.execPath, all, options, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
      })
    })
  }

  /** What a command gives, where it succeeds. */
  async json(...argv: readonly string[]): Promise<Any> {
    const { code, stderr, stdout } = await this.cloister(...argv)
    if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`)
    return JSON.parse(stdout)
  }

  async #fill(home: string): Promise<void> {
    const people = join(this.folder, 'people')
    await mkdir(people)
    await mkdir(this.claim)
    for (const [name, text] of Object.entries(PARTS)) await writeFile(join(people, name), text)
    await writeFile(join(this.claim, 'driver.py'), DRIVER)
    await writeFile(join(this.claim, 'executor.py'), EXECUTOR)
    await writeFile(join(this.claim, 'enclave.yaml'), stringify(DEFINITION))
    const data = join(home, 'kms')
    const token = join(data, 'enrolment-token')
    await this.json('kms', 'enrol', '--pin', join(data, 'kms.json'), '--token-file', token)
    await this.json('key', 'create', '--alias', 'people')
    const { keyId } = await this.json('key', 'create', '--open', '--alias', 'results')
    const { datasetId } = await this.json('encrypt', people, 'sealed/people', '--key', 'people')
    await this.json('enclave', 'build', 'enclave.yaml', 'image')
    await this.writeJob('job.yaml', { datasetId, keyId })
    await writeFile(join(this.claim, 'ids.json'), JSON.stringify({ datasetId, keyId }))
    for (const key of ['people', 'results']) {
      await this.json('policy', 'add', '--key', key, '--job', 'job.yaml', '--tee', 'sim')
    }
    await copyFile(join(home, 'sim-platform.json'), join(this.claim, 'sim-platform.json'))
  }

  /** What the job left, opened by its owner. */
  async results(): Promise<Readonly<Record<string, string>>> {
    const out = join(this.folder, `opened-${++this.#opened}`)
    await this.json('decrypt', 'sealed/result', out, '--files')
    const files = await readdir(out)
    const texts = files.map(async file => [file, await readFile(join(out, file), 'utf8')] as const)
    return Object.fromEntries(await Promise.all(texts))
  }

  /** Builds an image of another program. */
  async makeOtherImage(name: string): Promise<void> {
    const files = [{ from: 'other.py', to: '/app/driver.py' }, ...DEFINITION.files.slice(1)]
    await writeFile(join(this.claim, 'other.py'), `${DRIVER}\nprint('other')\n`)
    await writeFile(join(this.claim, 'other.yaml'), stringify({ ...DEFINITION, files }))
    await this.json('enclave', 'build', 'other.yaml', name)
  }

  async writeJob(file: string, ids: { datasetId: string; keyId: string }, image = 'image') {
    const job = {
      ...{ version: 1, image, arguments: [] },
      inputs: {
        people: { folder: 'sealed/people', dataset: ids.datasetId, version: 1, format: 'files' },
      },
      outputs: {
        result: {
          ...{ folder: 'sealed/result', dataset: 'cd'.repeat(16), key: ids.keyId },
          format: 'files',
        },
      },
      resources: { memoryMiB: 128 },
    }
    await writeFile(join(this.claim, file), stringify(job))
  }

  /** The objects of the job in pods, by the command that prints them. */
  async render(...argv: readonly string[]): Promise<readonly Any[]> {
    const image = ['--pod-image', 'registry.example/cloister:0.1.0', '--kms-peer', '127.0.0.1/32']
    return await this.json(
      ...['cluster', 'render', 'job.yaml', '--claim', 'job', '--name', 'upper'],
      ...[...image, ...argv],
    )
  }

  /**
   * Starts a pod of a job among rendered objects, as its kubelet would: the containers before it,
   * then its own.
   * @param changed - What is changed about the container: its network is this machine's
   */
  async startPod(
    objects: readonly Any[],
    job: string,
    changed: (container: Container) => Container = container => container,
  ): Promise<RunningContainer> {
    const { spec } = objects.find(({ kind, metadata }) => kind === 'Job' && metadata.name === job)
    return await this.startPodOf(objects, spec.template.spec, changed)
  }

  /** The same of a pod as it is in a cluster with these objects. */
  async startPodOf(
    objects: readonly Any[],
    pod: Any,
    changed: (container: Container) => Container = container => container,
  ): Promise<RunningContainer> {
    const own = join(this.folder, `pod-${++this.#pods}`)
    const volumes: Record<string, string> = {}
    for (const { name, configMap } of pod.volumes) {
      volumes[name] = name === 'job' ? this.claim : join(own, name)
      if (name === 'job') continue
      await mkdir(join(own, name), { recursive: true, mode: 0o700 })
      if (configMap === undefined) continue
      const { data } = objects.find(
        ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === configMap.name,
      )
      for (const [file, text] of Object.entries<string>(data)) {
        await writeFile(join(own, name, file), text)
      }
    }
    for (const container of pod.initContainers) {
      const before = await runContainer(container, this.folder, volumes)
      const code = await before.exited
      if (code !== 0) throw new Error(`${container.name}: ${code}: ${before.stderr.join('\n')}`)
    }
    return await runContainer(changed(pod.containers[0]), this.folder, volumes)
  }
}
