import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { jobDigest, type KmsPin } from '@cloister/kms'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { FilesScene, hasPython } from '../files-scene.test.support.ts'
import { findBubblewrap } from '../start.ts'
import { World } from '../world.test.support.ts'
import { encodeGreeting, type Greeting } from './greeting.ts'
import {
  DRIVER,
  forward,
  HostProcess,
  inputOf,
  type Told,
  togetherDefinition,
} from './hosts-scene.test.support.ts'
import { CAPTURE, canNetwork, type TestHost, TestNetwork } from './network.test.support.ts'

const MARK = 'a secret that no host reads'
const PORT = 7400
const SILENCE_MS = 4_000
const FILES = Object.fromEntries(
  Array.from({ length: 12 }, (_, index) => [`${index}.txt`, `${MARK} ${index}\n`.repeat(400)]),
)
const UPPER = Object.fromEntries(
  Object.entries(FILES).map(([path, text]) => [path, text.toUpperCase()]),
)

const canRun = canNetwork && hasPython && findBubblewrap() !== undefined
const reason = canRun ? '' : ' (skipped: wants root, ip, nsenter, bubblewrap and Python 3.11)'

let world: World
let network: TestNetwork
let kms: { close(): void; port: number }
let pin: KmsPin
let driverHost: TestHost
let hosts: readonly [TestHost, TestHost, TestHost]
let secretFile: string
let secretBytes: Buffer
let running: HostProcess[] = []

beforeAll(async () => {
  if (!canRun) return
  world = await World.start({ definition: togetherDefinition() })
  network = new TestNetwork()
  kms = await forward(network.address, Number(new URL(world.kms.pin.url).port))
  pin = { ...world.kms.pin, url: `https://${network.address}:${kms.port}` }
  driverHost = network.host()
  hosts = [network.host(), network.host(), network.host()]
  secretFile = join(world.folder, 'hosts.secret')
  secretBytes = randomBytes(32)
  await writeFile(secretFile, secretBytes, { mode: 0o600 })
})

afterEach(async () => {
  for (const { child } of running) child.kill('SIGKILL')
  await Promise.all(running.map(({ ended }) => ended))
  running = []
})

afterAll(async () => {
  kms?.close()
  network?.remove()
  await world?.stop()
})

const make = (...argv: readonly string[]) => FilesScene.make(world, [DRIVER, ...argv], FILES)

/** Starts a driver on its host, which waits for hosts to call in. */
async function driverOf(
  scene: FilesScene,
  executors: number,
  more: { readonly secretFile?: string; readonly hosts?: object } = {},
): Promise<HostProcess> {
  const listen = { host: driverHost.address, port: PORT }
  const input = { executors, ...more, hosts: { listen, silenceMs: SILENCE_MS, ...more.hosts } }
  const driver = new HostProcess(driverHost, inputOf(scene, pin, input))
  running.push(driver)
  await driver.says('listening')
  return driver
}

/** Offers a host for an executor; one that is `called` listens itself. */
function executorOn(
  host: TestHost,
  scene: FilesScene,
  more: {
    readonly called?: boolean
    readonly secretFile?: string
    readonly image?: string
    readonly job?: object
    readonly driver?: object
    readonly hosts?: object
  } = {},
): HostProcess {
  const { called = false, ...others } = more
  const listen = called ? { listen: { host: host.address, port: PORT } } : {}
  const executor = new HostProcess(
    host,
    inputOf(scene, pin, {
      ...{ driver: { host: driverHost.address, port: PORT }, ...others },
      hosts: { silenceMs: SILENCE_MS, waitMs: 30_000, ...listen, ...more.hosts },
    }),
  )
  running.push(executor)
  return executor
}

const completed = (process: HostProcess) => process.result()
const codes = (told: readonly Told[]) =>
  told.flatMap(({ kind, code }) => (kind === 'warning' ? [code] : []))

describe.runIf(canRun || !hasPython || !canNetwork)(
  `hosts that have instances of one job${reason}`,
  { timeout: 180_000 },
  () => {
    it.runIf(canRun)(
      'come to what one comes to, call each other, and show the network ciphertext alone',
      async () => {
        const scene = await make('executor-1,executor-2,executor-3', 'mesh')
        const capture = spawn('/usr/bin/python3', ['-c', CAPTURE, network.bridge])
        const seen: Buffer[] = []
        capture.stdout.on('data', bytes => seen.push(bytes))
        await once(capture.stderr, 'data')
        const driver = await driverOf(scene, 3)
        const [one, two, three] = hosts
        const executors = [
          executorOn(one, scene, { called: true }),
          executorOn(two, scene, { called: true }),
          // Behind a firewall: calls, and is not called.
          executorOn(three, scene),
        ]
        expect(await completed(driver), driver.stderr).toMatchObject({ outcome: 'completed' })
        expect(await scene.results()).toEqual(UPPER)
        for (const executor of executors) {
          expect(await executor.result()).toMatchObject({ outcome: 'completed' })
        }
        const answers = (await driver.says('said'))['answers']
        const names = ['executor-1', 'executor-2', 'executor-3']
        const calls = names.flatMap(to =>
          ['driver', ...names].filter(from => from !== to).map(from => [from, to]),
        )
        expect(answers).toEqual(calls.sort())
        expect(codes(driver.told)).toEqual(['UNAUTHENTICATED_HOSTS'])
        capture.kill()
        await once(capture, 'close')
        const all = Buffer.concat(seen)
        expect(all.length).toBeGreaterThan(100_000)
        for (const text of [MARK, MARK.toUpperCase(), '"dek"', '"deks"', 'written', 'people']) {
          expect(all.includes(text), text).toBe(false)
        }
      },
    )

    it.runIf(canRun)(
      'take no stranger: without the secret, with another, of another job, or who only makes noise',
      async () => {
        const scene = await make('executor-1')
        const driver = await driverOf(scene, 1, { secretFile })
        const [one, two] = hosts
        const wrong = join(world.folder, 'wrong.secret')
        await writeFile(wrong, randomBytes(32), { mode: 0o600 })
        const brief = { hosts: { waitMs: 1 } }
        const other = await make('executor-1', 'other')
        const strangers = [
          executorOn(two, scene, brief),
          executorOn(two, scene, { ...brief, secretFile: wrong }),
          executorOn(two, other, { ...brief, secretFile }),
        ]
        const noise = Array.from({ length: 300 }, (_, index) =>
          noisy(driverHost.address, index % 3 === 0 ? randomBytes(40) : 'join 1 '),
        )
        const refused = await Promise.all(strangers.map(stranger => stranger.result()))
        expect(refused.map(one => one?.['code'])).toEqual(['DRIVER', 'HOSTS_SECRET', 'JOB'])
        const executor = executorOn(one, scene, { secretFile, called: true })
        expect(await completed(driver), driver.stderr).toMatchObject({ outcome: 'completed' })
        expect(await scene.results()).toEqual(UPPER)
        expect(await executor.result()).toMatchObject({ names: ['executor-1'] })
        expect(codes(driver.told)).toEqual([])
        for (const socket of noise) socket.destroy()
      },
    )

    it.runIf(canRun)(
      'go on when one is killed and one is cut off, with those that call in later',
      async () => {
        const scene = await make('executor-3,executor-4')
        const driver = await driverOf(scene, 3)
        const [one, two, three] = hosts
        const killed = executorOn(one, scene)
        await driver.says('executor', { name: 'executor-1' })
        const cut = executorOn(two, scene, { called: true })
        await driver.says('executor', { name: 'executor-2' })
        const staying = executorOn(three, scene)
        for (const name of ['executor-1', 'executor-2', 'executor-3']) {
          await driver.says('executor', { name, step: 'program-started' })
        }
        killed.child.kill('SIGKILL')
        two.plug(false)
        const lost = () => codes(driver.told).filter(code => code === 'EXECUTOR_LOST')
        // The run could be over before it is noticed that one is cut off.
        await expect.poll(lost, { timeout: 60_000 }).toHaveLength(2)
        // No work is done before this one is there.
        const late = executorOn(one, scene, { called: true })
        expect(await completed(driver), driver.stderr).toMatchObject({ outcome: 'completed' })
        expect(await scene.results()).toEqual(UPPER)
        expect(await staying.result()).toMatchObject({ outcome: 'completed' })
        expect(await late.result()).toMatchObject({ outcome: 'completed' })
        expect(await cut.result()).toMatchObject({ kind: 'error', code: 'DRIVER' })
        two.plug(true)
        expect(lost()).toHaveLength(2)
      },
    )

    it.runIf(canRun)('never have another result where bits change on the way', async () => {
      const scene = await make('executor-1')
      const driver = await driverOf(scene, 1, { hosts: { waitMs: 10_000 } })
      let changed = 0
      const between = await alter(driverHost.address, () => {
        changed += 1
      })
      const at = { host: network.address, port: between.port }
      executorOn(hosts[0], scene, { driver: at })
      const end = await driver.ended
      between.close()
      expect(changed).toBeGreaterThan(0)
      const isCompleted = end.some(({ outcome }) => outcome === 'completed')
      if (isCompleted) expect(await scene.results()).toEqual(UPPER)
      else expect(await readdir(scene.outputFolder)).toEqual([])
    })

    it.runIf(canRun)(
      'have no executor of another image, and none of a host that was refused',
      async () => {
        const scene = await make('executor-2,executor-4')
        const { folder: image } = await world.buildOther({ ...togetherDefinition(), name: 'other' })
        const driver = await driverOf(scene, 2)
        const [one, two, three] = hosts
        const id = '5e'.repeat(16)
        const rogue = executorOn(two, scene, { image, ...{ id } })
        expect(await rogue.result()).toMatchObject({
          outcome: 'refused',
          failure: { code: 'MEASUREMENT' },
        })
        const warning = await driver.says('warning', { code: 'EXECUTOR_REFUSED' })
        expect(warning['message']).toContain('executor-1')
        const again = executorOn(two, scene, { image, ...{ id } })
        expect(await again.result()).toMatchObject({ kind: 'error', code: 'DRIVER' })
        const first = executorOn(one, scene)
        await driver.says('executor', { name: 'executor-2', step: 'program-started' })
        // One that says it has a number that another has, under a ticket that nobody was given.
        const thief = noisy(driverHost.address, peer('executor-2', 'ab'.repeat(16)))
        await once(thief, 'close')
        // One that takes a place, says nothing of an instance, and calls the driver by its ticket.
        const idle = await placed(scene)
        expect(idle.name).toBe('executor-3')
        const call = noisy(
          driverHost.address,
          peer('driver', idle.ticket) + randomBytes(600).toString('latin1'),
        )
        await once(call, 'close')
        idle.socket.destroy()
        await driver.says('warning', { code: 'EXECUTOR_LOST' })
        const second = executorOn(three, scene, { called: true })
        expect(await completed(driver), driver.stderr).toMatchObject({ outcome: 'completed' })
        expect(await scene.results()).toEqual(UPPER)
        expect(await first.result()).toMatchObject({ names: ['executor-2'] })
        expect(await second.result()).toMatchObject({ names: ['executor-4'] })
      },
    )

    it.runIf(canRun)('are told when nobody comes, and end with their driver', async () => {
      const scene = await make('executor-9')
      const alone = await driverOf(scene, 1, { hosts: { waitMs: 500 } })
      await alone.ended
      expect(alone.stderr).toContain('no host has called in')
      expect(await readdir(scene.outputFolder)).toEqual([])
      const driver = await driverOf(scene, 2)
      const executor = executorOn(hosts[0], scene, { called: true })
      await driver.says('executor', { name: 'executor-1', step: 'program-started' })
      driver.child.kill('SIGKILL')
      expect(await executor.result()).toMatchObject({ kind: 'error', code: 'DRIVER' })
    })
  },
)

const peer = (name: string, ticket: string) => encodeGreeting({ kind: 'peer', name, ticket })

/** One who connects to the driver's host and says something. */
function noisy(host: string, words: string | Uint8Array): Socket {
  const socket = connect({ host, port: PORT })
  socket.on('error', () => {})
  socket.write(words)
  socket.resume()
  return socket
}

/** Takes an executor's place by the protocol, without any instance. */
async function placed(scene: FilesScene) {
  const job = Buffer.from(jobDigest(scene.job)).toString('hex')
  const greeting: Greeting = { kind: 'join', offer: { job, id: '7f'.repeat(16) } }
  const socket = noisy(driverHost.address, encodeGreeting(greeting))
  let said = ''
  for await (const bytes of socket.iterator({ destroyOnReturn: false })) {
    said += bytes
    const place = said.split('\n').find(line => line.includes('"place"') && line.endsWith('}'))
    if (place === undefined) continue
    const { number, ticket } = JSON.parse(place)
    socket.resume()
    return { socket, ticket: String(ticket), name: `executor-${number}` }
  }
  throw new Error(`no place: ${said}`)
}

/** A man in the middle of an executor and its driver, who changes a bit now and then. */
async function alter(host: string, onChange: () => void) {
  let passed = 0
  const altered = () =>
    new Transform({
      transform(bytes: Buffer, _encoding, done) {
        passed += bytes.length
        if (passed > 40_000) {
          passed = 0
          onChange()
          bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
        }
        done(null, bytes)
      },
    })
  const sockets = new Set<Socket>()
  const server = createServer(inner => {
    const outer = connect({ host, port: PORT })
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
      one.pipe(altered()).pipe(other)
    }
  })
  server.listen(0, network.address)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return { port: address.port, close }
}
