import { readdir, readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EnclaveDefinition } from '../definition/schema.ts'
import { verifyImage } from '../image/verify.ts'
import type { LaunchEvent } from './event.ts'
import { FilesScene, hasPython } from './files-scene.test.support.ts'
import { type InstanceResult, launchInstance } from './instance.ts'
import { brokerDefinition, PRELUDE } from './keys-scene.test.support.ts'
import { findBubblewrap, strongestConfinement } from './start.ts'
import { Switchboard } from './switchboard.ts'
import { World } from './world.test.support.ts'

const PORT = 7078
const MARK = 'a secret that no host reads'

/** Waits for work from the driver, a line of JSON each, and answers what it has written. */
const EXECUTOR = `
import json, os, socket, sys, time
from key_broker import *
broker = Broker()
run, job = broker.ask('run'), broker.ask('job')
people, result = job['inputs'][0], job['outputs'][0]
assert run['role'] == 'executor', run
driver = socket.create_connection((run['driver'], ${PORT})).makefile('rw')
print(json.dumps({'hello': run['name'], 'commit': broker.code_of(
    'commit', output='result', mode='replace', parts=[])}), file=driver, flush=True)
for line in driver:
    if line == 'null\\n': sys.exit(0)
    part = json.loads(line)
    text = broker.read(people, part)
    written = broker.write(result, part['path'], text.upper())
    print(json.dumps({'written': written, 'text': text.decode()}), file=driver, flush=True)
sys.exit(1)
`

/** Gives each executor that calls a part at a time, again where one is lost, and commits all. */
const DRIVER = `${PRELUDE}
import queue, threading
run = broker.ask('run')
assert run['role'] == 'driver', run
todo, done, said = queue.Queue(), {}, []
for part in broker.parts('people'): todo.put(part)
wanted = todo.qsize()
def serve(connection):
    part = None
    try:
        stream = connection.makefile('rw')
        said.append(json.loads(stream.readline()))
        while len(done) < wanted:
            try: part = todo.get(timeout=0.2)
            except queue.Empty: continue
            print(json.dumps(part), file=stream, flush=True)
            done[part['path']] = json.loads(stream.readline())['written']
            part = None
        print('null', file=stream, flush=True)
    except (OSError, ValueError) as error:
        if part is not None: todo.put(part)
server = socket.create_server((run['address'], ${PORT}))
server.settimeout(0.2)
while len(done) < wanted or len(said) < int(sys.argv[1]):
    try: connection, _ = server.accept()
    except TimeoutError: continue
    connection.settimeout(60)
    threading.Thread(target=serve, args=[connection], daemon=True).start()
broker.commit(result, list(done.values()))
print(json.dumps([run, sorted(said, key=lambda one: one['hello'])]), flush=True)
os._exit(0)
`

/** Sends its executor away, as Spark does when it is stopped, and begins anew with another. */
const TWICE = `${PRELUDE}
run, said = broker.ask('run'), []
server = socket.create_server((run['address'], ${PORT}))
for time in range(2):
    connection, _ = server.accept()
    stream = connection.makefile('rw')
    said.append(json.loads(stream.readline())['hello'])
    print('null', file=stream, flush=True)
broker.commit(result, [broker.write(result, part['path'], broker.read(people, part).upper())
                       for part in broker.parts('people')])
print(json.dumps(said))
`

function definition(): EnclaveDefinition {
  const plain = brokerDefinition()
  const program = ['/usr/bin/python3', '-I', '-c', EXECUTOR]
  return { ...plain, entry: { ...plain.entry, executor: { program, ports: [PORT] } } }
}

const FILES = Object.fromEntries(
  Array.from({ length: 12 }, (_, index) => [`${index}.txt`, `${MARK} ${index}\n`.repeat(400)]),
)
const UPPER = Object.fromEntries(
  Object.entries(FILES).map(([path, text]) => [path, text.toUpperCase()]),
)

const canRun = hasPython && findBubblewrap() !== undefined
let world: World

beforeAll(async () => {
  if (canRun) world = await World.start({ definition: definition() })
})
afterAll(() => world?.stop())

const make = (executors: number) => FilesScene.make(world, [DRIVER, `${executors}`], FILES)
const warnings = (scene: FilesScene) =>
  scene.events.flatMap(event => (event.kind === 'warning' ? [event] : []))

describe.runIf(canRun)('a job of several instances', { timeout: 120_000 }, () => {
  it('comes to what one comes to; each instance attests, and executors commit nothing', async () => {
    const scene = await make(3)
    const outcome = await scene.launch({ executors: 3 })
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    expect(await scene.results()).toEqual(UPPER)
    const [run, said] = JSON.parse(outcome.stdout)
    expect(run).toMatchObject({ role: 'driver', name: 'driver', executors: 3 })
    expect(said).toEqual(
      [1, 2, 3].map(number => ({ hello: `executor-${number}`, commit: 'DENIED' })),
    )
    const rows = await world.owner.audit()
    const releases = rows.filter(({ entry }) => entry['runId'] === run.runId)
    expect(releases).toHaveLength(4)
    expect(new Set(releases.map(({ entry }) => entry['actor'])).size).toBe(4)
    expect(new Set(releases.map(({ entry }) => entry['measurement']))).toEqual(
      new Set([world.measurement]),
    )
  })

  it('shows its host ciphertext alone, on the wire and in what it leaves', async () => {
    const scene = await make(2)
    const seen: Buffer[] = []
    const wire = (from: Socket, to: Socket) => {
      for (const [one, other] of [
        [from, to],
        [to, from],
      ] as const) {
        one.on('data', (bytes: Buffer) => seen.push(bytes))
        one.on('error', () => other.destroy())
        one.pipe(other)
      }
    }
    expect(await scene.launch({ executors: 2, wire })).toMatchObject({ outcome: 'completed' })
    const onWire = Buffer.concat(seen)
    // Twelve texts and their keys went over it.
    expect(onWire.length).toBeGreaterThan(100_000)
    const left = await bytesBelow(scene.outputFolder)
    for (const bytes of [onWire, left]) {
      for (const text of [MARK, MARK.toUpperCase(), '"dek"', '"deks"', 'written', 'people']) {
        expect(bytes.includes(text), text).toBe(false)
      }
    }
  })

  it('never has another result where its host changes a bit now and then', async () => {
    const scene = await make(1)
    let passed = 0
    let changed = 0
    const altered = () =>
      new Transform({
        transform(bytes: Buffer, _encoding, done) {
          passed += bytes.length
          if (passed > 60_000 && changed < 2) {
            changed += 1
            passed = 0
            bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
          }
          done(null, bytes)
        },
      })
    const wire = (from: Socket, to: Socket) => {
      from.pipe(altered()).pipe(to)
      to.pipe(altered()).pipe(from)
    }
    const outcome = await scene.launch({ executors: 2, wire })
    expect(changed).toBe(2)
    if (outcome.outcome === 'completed') expect(await scene.results()).toEqual(UPPER)
    else expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it.each(['it starts', 'its program starts', 'work is under way'])(
    'goes on when an executor is killed as %s',
    async moment => {
      const scene = await make(3)
      let pid: number | undefined
      const kill = (now: string) => {
        if (now !== moment || pid === undefined) return
        process.kill(pid, 'SIGKILL')
        pid = undefined
      }
      const onEvent = (event: LaunchEvent) => {
        if (event.kind !== 'executor' || event.name !== 'executor-1') return
        if ('pid' in event) pid = event.pid
        if ('pid' in event) kill('it starts')
        else if ('step' in event && event.step === 'program-started') kill('its program starts')
      }
      let passed = 0
      const wire = (from: Socket, to: Socket) => {
        // All of the work takes more than twice as much.
        const count = (bytes: Buffer) => {
          passed += bytes.length
          if (passed > 40_000) kill('work is under way')
        }
        from.on('data', count).pipe(to)
        to.on('data', count).pipe(from)
      }
      // No work is left undone, and three have said hello in any case.
      const outcome = await scene.launch({ executors: 3, onEvent, wire })
      expect(outcome).toMatchObject({ outcome: 'completed' })
      expect(pid).toBeUndefined()
      expect(await scene.results()).toEqual(UPPER)
      expect(warnings(scene).map(({ code }) => code)).toContain('EXECUTOR_LOST')
    },
  )

  it('leaves nothing where its driver is killed before it has committed', async () => {
    const scene = await FilesScene.make(
      world,
      [DRIVER.replace('broker.commit(', 'os.kill(os.getpid(), 9); broker.commit('), '2'],
      FILES,
    )
    const outcome = await scene.launch({ executors: 2 })
    expect(outcome).toMatchObject({
      outcome: 'failed',
      exitCode: 137,
      failure: { code: 'PROGRAM' },
    })
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('goes on with executors that come when the driver’s token has expired', async () => {
    const scene = await make(2)
    const onEvent = (event: LaunchEvent) => {
      if (event.kind === 'run') world.clock.aheadMs = 5 * 60 * 60 * 1000
    }
    const outcome = await scene.launch({ executors: 2, onEvent }).finally(() => {
      world.clock.aheadMs = 0
    })
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    expect(await scene.results()).toEqual(UPPER)
  })

  it('has another executor in place of one that its driver sent away and needs after all', async () => {
    const scene = await FilesScene.make(world, [TWICE], FILES)
    const outcome = await scene.launch({ executors: 1 })
    expect(outcome).toMatchObject({ outcome: 'completed', stderr: '' })
    expect(JSON.parse(outcome.stdout)).toEqual(['executor-1', 'executor-2'])
    expect(warnings(scene)).toEqual([])
    expect(await scene.results()).toEqual(UPPER)
  })

  it('says so when none is left', async () => {
    const scene = await make(2)
    const onEvent = (event: LaunchEvent) => {
      if (event.kind === 'executor' && 'pid' in event) process.kill(event.pid, 'SIGKILL')
    }
    const asked = scene.launch({ executors: 1, onEvent })
    await expect(asked).rejects.toMatchObject({ code: 'EXECUTORS' })
    expect(await readdir(scene.outputFolder)).toEqual([])
  })

  it('has no executor of another image, under this job or under one of its own', async () => {
    const scene = await make(2)
    const { folder } = await world.buildOther({ ...definition(), name: 'other' })
    const other = await verifyImage(folder)
    const bubblewrap = findBubblewrap() ?? ''
    const confinement = await strongestConfinement(bubblewrap)
    if (confinement === 'none') throw new Error('there is no sandbox')
    const rogues: Promise<InstanceResult>[] = []
    const onEvent = (event: LaunchEvent) => {
      if (event.kind !== 'run') return
      const place = { role: 'executor', executors: 2, number: 3, runId: event.runId } as const
      const own = { ...scene.job, measurement: other.measurement }
      for (const job of [scene.job, own]) {
        const options = {
          ...{ image: other.folder, job, pin: world.kms.pin, platform: world.platform },
          ...{ inputs: { people: scene.inputFolder }, outputs: { result: scene.outputFolder } },
          ...{ onEvent: () => {}, among: { place, switchboard: new Switchboard() } },
        }
        rogues.push(
          launchInstance(options, { image: other, enclosure: { bubblewrap, confinement } }),
        )
      }
    }
    expect(await scene.launch({ executors: 2, onEvent })).toMatchObject({ outcome: 'completed' })
    expect(await scene.results()).toEqual(UPPER)
    expect(await Promise.all(rogues)).toMatchObject([
      { outcome: 'failed', failure: { code: 'MEASUREMENT' } },
      { outcome: 'failed', failure: { code: 'RELEASE_DENIED' } },
    ])
  })

  it('wants an image that has executors, and a number of them that can be', async () => {
    const scene = await make(1)
    for (const executors of [0, 1.5, 65]) {
      await expect(scene.launch({ executors })).rejects.toMatchObject({ code: 'EXECUTORS' })
    }
    await expect(scene.launch({ executors: 1, withoutSandbox: true })).rejects.toMatchObject({
      code: 'SANDBOX',
    })
    const { folder: image } = await world.buildOther(brokerDefinition())
    const asked = scene.launch({ executors: 1, image })
    await expect(asked).rejects.toMatchObject({ code: 'EXECUTORS' })
  })
})

/** Every byte of the files below a folder. */
async function bytesBelow(folder: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile())
  return Buffer.concat(
    await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name)))),
  )
}
