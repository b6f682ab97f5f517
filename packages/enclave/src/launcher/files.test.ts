import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { sealFiles } from '@cloister/kms'
import { datasetIdFrom, filesBelow, MANIFEST_NAME } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { verifyReceipt } from '../receipt/verify.ts'
import { FilesScene, hasPython, pythonDefinition } from './files-scene.test.support.ts'
import { findBubblewrap } from './start.ts'
import { canMount, World } from './world.test.support.ts'

const isSandboxed = findBubblewrap() !== undefined
const canRun = hasPython && isSandboxed

let world: World

beforeAll(async () => {
  if (hasPython) world = await World.start({ definition: pythonDefinition() })
})

afterAll(async () => {
  await world?.stop()
})

/** Upper-cases every file of the input, at its path. */
const UPPER_CASE = `
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:] or ['/data/people', '/data/result'])
for file in sorted(source.rglob('*')):
    if file.is_file():
        to = target / file.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(file.read_text().upper())
print('done')
`

/** A step of an instance, as an event. */
interface Stepping {
  readonly kind: string
  readonly step?: string
}

describe.runIf(hasPython)('a program that knows nothing of Cloister', () => {
  it.each([
    { name: 'in a sandbox', withoutSandbox: false, run: isSandboxed },
    {
      name: 'without one, where its arguments say where data are',
      withoutSandbox: true,
      run: true,
    },
  ])('finds its input as files and leaves its output as files, $name', async options => {
    if (!options.run) return
    const { withoutSandbox } = options
    const scene = await FilesScene.make(world, [UPPER_CASE, '/data/people', '/data/result'])
    const result = await scene.launch({ withoutSandbox })
    expect(result).toMatchObject({ outcome: 'completed', exitCode: 0, stdout: 'done\n' })
    expect(await scene.results()).toEqual({
      'people.csv': 'NAME,AGE\nADA,36\n',
      'notes/a b.txt': 'HELLO',
    })
    if (result.outcome !== 'completed') return
    const summary = await verifyReceipt(result.receipt, {
      roots: [world.platform.trustRoot],
      kmsIdentityKeys: [world.kms.pin.identityKey],
    })
    expect(summary).toMatchObject({
      inputs: [{ name: 'people', version: 1 }],
      outputs: [{ name: 'result', version: 1, rows: null }],
    })
    const names = readdirSync(scene.outputFolder).sort()
    expect(names.map(name => name.replace(/[0-9a-f]{32,}/, '#'))).toEqual([
      ...['manifest-#.jws', MANIFEST_NAME, 'part-00000-#.sealed', 'part-00001-#.sealed'],
      'receipt.jws',
    ])
  })

  it.runIf(canRun)(
    'writes the next version in place of the one before, from newer input',
    async () => {
      const scene = await FilesScene.make(world, [UPPER_CASE])
      expect(await scene.launch()).toMatchObject({ outcome: 'completed' })
      const plain = mkdtempSync(join(scene.folder, 'plain-'))
      writeFileSync(join(plain, 'only.txt'), 'newer')
      const [input] = scene.job.inputs
      await sealFiles({
        ...{ client: world.owner, keyId: scene.keyId, folder: scene.inputFolder },
        ...{ files: await filesBelow(plain), ownerKey: world.ownerKey, mediaType: 'text/plain' },
        datasetId: datasetIdFrom(input?.datasetId ?? ''),
      })
      const job = { ...scene.job, inputs: scene.job.inputs.map(old => ({ ...old, version: 2 })) }
      await scene.allow(job)
      expect(await scene.launch({ job })).toMatchObject({ outcome: 'completed' })
      expect(await scene.results()).toEqual({ 'only.txt': 'NEWER' })
    },
  )

  it.runIf(canRun)('has its arguments, its environment, and its streams', async () => {
    const scene = await FilesScene.make(world, [
      `
import os, sys
print(sys.argv[1:], os.environ['GREETING'], os.environ['MODE'], repr(sys.stdin.read()))
print('and this', file=sys.stderr)
open('/data/result/x', 'w').close()
`,
      ...['one', 'two words'],
    ])
    const job = { ...scene.job, environment: { MODE: 'fast' } }
    await scene.allow(job)
    // The image does not say that it reads anything.
    const outcome = await scene.launch({ job, stdin: Readable.from(['secret']) })
    expect(outcome).toMatchObject({
      stdout: "['one', 'two words'] measured fast ''\n",
      stderr: 'and this\n',
      outcome: 'completed',
    })
  })

  it.runIf(canRun)('that fails leaves nothing, and its exit code is the instance’s', async () => {
    const scene = await FilesScene.make(world, [
      "import sys; open('/data/result/x', 'w').write('half'); sys.exit(42)",
    ])
    expect(await scene.launch()).toMatchObject({
      ...{ outcome: 'failed', exitCode: 42, signal: null },
      failure: { where: 'InstanceError', code: 'PROGRAM' },
    })
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  it.runIf(canRun)('is given the signals that are meant for it, and no others', async () => {
    const scene = await FilesScene.make(world, [
      `
import signal, sys, time
got = []
for name in ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']:
    signal.signal(getattr(signal, name), lambda number, _: got.append(signal.Signals(number).name))
print('ready', flush=True)
while 'SIGTERM' not in got:
    time.sleep(0.05)
print(sorted(got))
open('/data/result/x', 'w').close()
`,
    ])
    let pid = 0
    const outcome = await scene.launch({
      onEvent: event => {
        if (event.kind === 'started') pid = event.pid
        if (event.kind !== 'step' || event.step !== 'program-started') return
        setTimeout(() => {
          for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGINT', 'SIGHUP'] as const) {
            process.kill(pid, signal)
          }
          setTimeout(() => process.kill(pid, 'SIGTERM'), 500)
        }, 1500)
      },
    })
    expect(outcome).toMatchObject({
      outcome: 'completed',
      stdout: "ready\n['SIGHUP', 'SIGINT', 'SIGTERM']\n",
    })
  })

  it.runIf(canRun)('is not begun when the host wants an end before', async () => {
    const scene = await FilesScene.make(world, [UPPER_CASE])
    let pid = 0
    const outcome = await scene.launch({
      onEvent: event => {
        if (event.kind === 'started') pid = event.pid
        if (event.kind === 'step' && event.step === 'job-read') process.kill(pid, 'SIGTERM')
      },
    })
    expect(outcome).toMatchObject({
      ...{ outcome: 'failed', exitCode: 143, failure: { code: 'SIGNAL' }, stdout: '' },
    })
    expect(readdirSync(scene.outputFolder)).toEqual([])
  })

  it.runIf(canRun)(
    'leaves as many files as it likes, also while the key service is away',
    async () => {
      const scene = await FilesScene.make(world, [
        `
import os, pathlib, time
for number in range(300):
    folder = pathlib.Path('/data/result') / str(number % 7)
    folder.mkdir(exist_ok=True)
    (folder / f'{number}.txt').write_text(str(number) * number)
time.sleep(1)
`,
      ])
      const onEvent = async (event: Stepping) => {
        if (event.step !== 'program-started') return
        await world.kms.close()
        setTimeout(() => void world.restart(), 2000)
      }
      const outcome = await scene.launch({ onEvent: event => void onEvent(event) })
      expect(outcome).toMatchObject({ outcome: 'completed' })
      const results = await scene.results()
      expect(Object.keys(results)).toHaveLength(300)
      expect(results['5/299.txt']).toBe('299'.repeat(299))
    },
  )

  it.runIf(canRun)(
    'is not begun with inputs or memory that its image has no room for',
    async () => {
      const scene = await FilesScene.make(world, [UPPER_CASE], { big: 'x'.repeat(201 << 20) })
      const large = await scene.launch()
      expect(large).toMatchObject({ failure: { where: 'InstanceError', code: 'INPUT' } })
      const job = { ...scene.job, resources: { memoryMiB: 201 } }
      await scene.allow(job)
      const asks = await scene.launch({ job })
      expect(asks).toMatchObject({ failure: { where: 'InstanceError', code: 'JOB' } })
      const most = { ...scene.job, resources: { memoryMiB: 1 << 24 } }
      await scene.allow(most)
      await expect(scene.launch({ job: most })).rejects.toMatchObject({ code: 'MEMORY' })
    },
  )

  it.runIf(canRun)('is not begun with other datasets than its image mounts', async () => {
    const scene = await FilesScene.make(world, [UPPER_CASE])
    const [input, output] = [scene.job.inputs[0], scene.job.outputs[0]]
    if (input === undefined || output === undefined) throw new Error('the job has both')
    for (const change of [
      { outputs: [] },
      { inputs: [{ ...input, name: 'persons' }] },
      { command: { kind: 'sql' as const, queries: [{ output: 'result', sql: 'SELECT 1' }] } },
    ]) {
      const job = { ...scene.job, ...change }
      await scene.allow(job)
      const outcome = await scene.launch({
        job,
        inputs: Object.fromEntries(job.inputs.map(({ name }) => [name, scene.inputFolder])),
        outputs: Object.fromEntries(job.outputs.map(({ name }) => [name, scene.outputFolder])),
      })
      expect(outcome).toMatchObject({ failure: { where: 'InstanceError', code: 'JOB' } })
    }
  })
})

describe.runIf(canRun)('a host of a program that knows nothing of Cloister', () => {
  it('that edits the sealed input while the program runs changes nothing of what it reads', async () => {
    const scene = await FilesScene.make(world, [
      `
import signal, time
edited = []
signal.signal(signal.SIGHUP, lambda *_: edited.append(1))
print('waiting', flush=True)
while not edited:
    time.sleep(0.05)
text = open('/data/people/people.csv').read()
open('/data/result/x', 'w').write(text)
`,
    ])
    let pid = 0
    const stdout = new PassThrough()
    stdout.on('data', () => {
      for (const name of readdirSync(scene.inputFolder)) {
        writeFileSync(join(scene.inputFolder, name), 'by the host')
      }
      process.kill(pid, 'SIGHUP')
    })
    const outcome = await scene.launch({
      stdout,
      onEvent: event => {
        if (event.kind === 'started') pid = event.pid
      },
    })
    expect(outcome).toMatchObject({ outcome: 'completed' })
    expect(readFileSync(join(scene.inputFolder, MANIFEST_NAME), 'utf8')).toBe('by the host')
    expect(await scene.results()).toEqual({ x: 'name,age\nada,36\n' })
  })

  it.runIf(canMount)('without room for its output ends the job, and nothing is left', async () => {
    const scene = await FilesScene.make(world, [
      `
open('/data/result/small', 'w').write('small')
open('/data/result/large', 'wb').write(bytes(1 << 20))
`,
    ])
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755,size=64k', 'tmpfs', scene.outputFolder])
    try {
      expect(await scene.launch()).toMatchObject({
        ...{ outcome: 'failed', exitCode: 70 },
        failure: {
          code: 'OUTPUT',
          message: expect.stringMatching(/large is not sealed: ENOSPC/),
        },
      })
      expect(readdirSync(scene.outputFolder)).toEqual([])
    } finally {
      execFileSync('umount', [scene.outputFolder])
    }
  })
})

describe.runIf(canRun)('an image that asks for more', () => {
  const here = hostname().toLowerCase()
  const listening: Server[] = []
  let more: World
  let hostFolder: string

  async function listen(answer: string): Promise<number> {
    const server = createServer(socket => socket.end(answer))
    server.listen(0)
    await once(server, 'listening')
    listening.push(server)
    return (server.address() as AddressInfo).port
  }

  let [named, unnamed] = [0, 0]

  beforeAll(async () => {
    ;[named, unnamed] = [await listen('named'), await listen('unnamed')]
    const definition = pythonDefinition()
    const asking: EnclaveDefinition = {
      ...definition,
      entry: { ...definition.entry, standardInput: true, signals: ['SIGUSR1'] },
      network: {
        connect: [
          { host: here, port: named },
          { host: 'privileged.example', port: 443 },
        ],
      },
      mounts: {
        ...definition.mounts,
        unprotectedHostFolders: [
          { name: 'logs', to: '/logs', writable: true },
          { name: 'settings', to: '/settings' },
        ],
      },
    }
    more = await World.start({ definition: asking })
    hostFolder = mkdtempSync(join(more.folder, 'host-'))
    writeFileSync(join(hostFolder, 'there'), 'by the host')
  })

  afterAll(async () => {
    for (const server of listening) server.close()
    await more?.stop()
  })

  it('reaches the hosts and ports that it names, and nothing else', async () => {
    const scene = await FilesScene.make(more, [
      `
import json, socket, sys
def ask(host, port):
    try:
        with socket.create_connection((host, port), timeout=5) as end:
            return end.makefile().read()
    except OSError as error:
        return type(error).__name__
host, named, unnamed = sys.argv[1], *map(int, sys.argv[2:])
print(json.dumps([ask(host, named), ask(host, unnamed), ask('127.0.0.1', named),
                  ask('other.example', named), socket.gethostbyname('privileged.example')]))
open('/data/result/x', 'w').close()
`,
      ...[here, `${named}`, `${unnamed}`],
    ])
    const outcome = await scene.launch({ hostFolders: { logs: hostFolder, settings: hostFolder } })
    expect(outcome).toMatchObject({ outcome: 'completed' })
    const [first, ...others] = JSON.parse(outcome.stdout)
    expect(first).toBe('named')
    expect(others.slice(0, 3)).toEqual([
      ...['ConnectionRefusedError', 'ConnectionRefusedError', 'gaierror'],
    ])
    expect(others[3]).toMatch(/^127\.0\.1\.\d+$/)
  })

  it('changes nothing of the kernel, though it is the launcher’s user to the host', async () => {
    const scene = await FilesScene.make(more, [
      `
import json, os
found = []
# Looked at, and not written: a host that could be changed from inside is not to be changed.
for top in ['bus', 'fs', 'irq', 'sys', 'acpi', 'scsi', 'asound']:
    for where, _, names in os.walk('/proc/' + top):
        found += [os.path.join(where, name) for name in names
                  if os.access(os.path.join(where, name), os.W_OK)]
for name in ['sysrq-trigger', 'kcore', 'kpageflags', 'slabinfo', 'timer_list', 'vmallocinfo']:
    try:
        found += [name] if open('/proc/' + name, 'rb').read(16) else []
    except OSError:
        pass
print(json.dumps(found), os.path.exists('/proc/sys/kernel/core_pattern'))
open('/data/result/x', 'w').close()
`,
    ])
    const outcome = await scene.launch({ hostFolders: { logs: hostFolder, settings: hostFolder } })
    expect(outcome).toMatchObject({ outcome: 'completed', stdout: '[] True\n' })
  })

  it('reads its standard input and the host’s folders, which is said', async () => {
    const scene = await FilesScene.make(more, [
      `
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
print(repr(sys.stdin.read()), open('/settings/there').read())
open('/logs/new', 'w').write('by the program')
try:
    open('/settings/new', 'w')
except OSError as error:
    print(error.errno)
open('/data/result/x', 'w').close()
`,
    ])
    const outcome = await scene.launch({
      hostFolders: { logs: hostFolder, settings: hostFolder },
      stdin: Readable.from(['line one\n', 'line two\n']),
    })
    expect(outcome).toMatchObject({
      outcome: 'completed',
      stdout: "'line one\\nline two\\n' by the host\n30\n",
    })
    expect(readFileSync(join(hostFolder, 'new'), 'utf8')).toBe('by the program')
    const warnings = scene.events.flatMap(event => (event.kind === 'warning' ? event.code : []))
    expect(warnings.filter(code => code === 'UNPROTECTED_HOST_FOLDER')).toHaveLength(2)
    await expect(scene.launch()).rejects.toMatchObject({ code: 'FOLDER' })
  })
})
