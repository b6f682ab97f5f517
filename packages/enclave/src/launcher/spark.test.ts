import { execFileSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { openOwnDataset } from '@cloister/kms'
import { datasetIdFrom, type PartWithKey } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyImage } from '../image/verify.ts'
import type { LaunchEvent } from './event.ts'
import type { FilesScene } from './files-scene.test.support.ts'
import { type HostAddress, parseHostAddress } from './hosts/address.ts'
import { type ExecutorResult, launchExecutor } from './hosts/executor.ts'
import { KmsProxy } from './proxy.test.support.ts'
import {
  buildSpark,
  filesBelowWithBytes,
  hasMaven,
  launchSpark,
  type SparkFiles,
  sparkDefinition,
} from './spark.test.support.ts'
import {
  crossed,
  expectNames,
  expectNothing,
  expectRight,
  expectRightOrNothing,
  flip,
  Gate,
  isOfExecutors,
  Killer,
  makeSparkScene,
  type People,
  peopleOf,
  seeded,
  type What,
  watching,
} from './spark-scene.test.support.ts'
import { hasSandbox } from './start.ts'
import type { Wire } from './switchboard.ts'
import { canMount, World } from './world.test.support.ts'

// The real Spark, as a driver and executors in sandboxes of their own: what its host sees of it, and
// what its host and its machine do to it.
const SLOW = process.env['SLOW'] === '1'
const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31))

const reason = hasMaven ? '' : ' (skipped: Maven or a JDK is not installed here)'
const canRun = hasMaven && (await hasSandbox())

const MARKS = ['nobody-knows', Buffer.from('nobody-knows', 'utf16le'), '"dek"', '"deks"']

let folder: string
let spark: SparkFiles
let world: World
const temporary = process.env['TMPDIR']

beforeAll(async () => {
  if (!canRun) return
  spark = await buildSpark(tmpdir())
  // All that the launcher and the key service ever write lies below it.
  folder = mkdtempSync(join(tmpdir(), 'spark-host-'))
  process.env['TMPDIR'] = folder
  world = await World.start({ definition: sparkDefinition(spark) })
}, 900_000)

afterAll(async () => {
  await world?.stop()
  await spark?.remove()
  if (temporary === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = temporary
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

const make = (what: What, people?: People) => makeSparkScene(world, what, people)

const partsOf = async (of: string, datasetId = ''): Promise<readonly PartWithKey[]> =>
  (await openOwnDataset(world.owner, of, datasetIdFrom(datasetId))).parts

const warningsOf = ({ events }: FilesScene) =>
  events.flatMap(event => (event.kind === 'warning' ? [event.code] : []))

const withoutPlugin = () => sparkDefinition(spark, { executor: 'without-plugin.args' })

const isTask = (line: string) => line.startsWith('task ')

describe.runIf(canRun || !hasMaven)(
  `Spark as several instances, seed ${SEED}${reason}`,
  {
    timeout: 900_000,
  },
  () => {
    it.runIf(canRun)(
      'leaves its host neither plaintext nor a key, in any byte on the wire and on the disk',
      async () => {
        const scene = await make('count')
        const proxy = await KmsProxy.before(world.kms.pin)
        const carried: Buffer[] = []
        proxy.answer = bytes => {
          carried.push(bytes)
          return bytes
        }
        let between = 0
        const wire = watching(bytes => {
          carried.push(bytes)
          between += bytes.length
        })
        const isOfRun = (path: string) => !path.startsWith(`${world.image.folder}/`)
        const kept = new Map<string, Buffer>()
        const keep = async (when: string) => {
          for (const [path, bytes] of await filesBelowWithBytes(folder, isOfRun)) {
            kept.set(`${when}: ${path}`, bytes)
          }
        }
        const outcome = await launchSpark(
          scene,
          {
            atHalf: () => keep('at half'),
          },
          { executors: 2, wire, pin: proxy.pin },
        )
        proxy.close()
        expect(outcome).toMatchObject({ outcome: 'completed' })
        await keep('at the end')
        await verifyImage(world.image.folder)

        // There was something to see: tables were shuffled, by TLS alone.
        expect(between).toBeGreaterThan(200_000)
        const parts = [
          ...(await partsOf(scene.inputFolder, scene.job.inputs[0]?.datasetId)),
          ...(await partsOf(scene.outputFolder, scene.job.outputs[0]?.datasetId)),
        ]
        expect(parts.length).toBeGreaterThan(20)
        const keys = parts.flatMap(({ dek }) => {
          const bytes = Buffer.from(dek.exposeBytes())
          return [
            bytes,
            ...(['hex', 'base64', 'base64url'] as const).map(form => bytes.toString(form)),
          ]
        })
        kept.set('on the wire', Buffer.concat([...carried, proxy.sent]))
        kept.set('said', Buffer.from(outcome.stdout + outcome.stderr))
        expect([...kept.keys()].some(name => name.includes('/kms/'))).toBe(true)
        const found = [...kept].flatMap(([name, bytes]) =>
          [...MARKS, ...keys].filter(secret => bytes.includes(secret)).map(() => name),
        )
        expect(found).toEqual([])
        // Whoever looks so does find what its owner has opened.
        await expectRight(scene)
        const opened = await filesBelowWithBytes(scene.folder, path => path.endsWith('.csv'))
        expect(opened.size).toBeGreaterThan(10)
        for (const bytes of opened.values()) expect(bytes.includes('nobody-knows')).toBe(true)
      },
    )

    it.runIf(SLOW && canRun).each([0, 1, 2])(
      'has the right result, or none, where a bit changes on the disk under it: round %i',
      async round => {
        const scene = await make('count')
        const random = seeded(SEED + 100 + round)
        const outcome = await launchSpark(scene, {
          atHalf: async () => {
            const isPart = (path: string) => path.endsWith('.sealed')
            const all = [
              ...(await filesBelowWithBytes(scene.inputFolder, isPart)),
              ...(await filesBelowWithBytes(scene.outputFolder, isPart)),
            ]
            expect(all.length).toBeGreaterThan(3)
            const [path, bytes] = all[Math.floor(random() * all.length)] ?? ['', Buffer.alloc(0)]
            flip(bytes, Math.floor(random() * bytes.length))
            writeFileSync(path, bytes)
          },
        })
        await expectRightOrNothing(scene, outcome)
      },
    )

    it.runIf(SLOW && canRun)(
      'shows nothing where its driver is killed between tasks’ commits and the job’s',
      async () => {
        const scene = await make('hold')
        let driver = 0
        let tasks = 0
        const onEvent = (event: LaunchEvent) => {
          if (event.kind === 'started') driver = event.pid
        }
        const onLine = (line: string) => {
          if (isTask(line)) tasks += 1
          if (tasks === 3 && driver !== 0) {
            process.kill(driver, 'SIGKILL')
            driver = 0
          }
        }
        const launched = launchSpark(scene, { onLine }, { executors: 2, onEvent })
        await expect(launched).rejects.toMatchObject({ code: 'STATUS' })
        expect(tasks).toBe(3)
        await expectNothing(scene)
      },
    )

    it.runIf(SLOW && canRun).each([0, 1, 2, 3])(
      'comes to the right result where executors are killed at any moment: round %i',
      async round => {
        const scene = await make('count')
        const random = seeded(SEED + 200 + round)
        const killer = new Killer()
        // After so many tasks; before the first of them there are executors that begin.
        const moments = [0, 1].map(() => Math.floor(random() * 20))
        let tasks = 0
        const strike = () => {
          for (const moment of moments.splice(0)) {
            if (moment > tasks || !killer.kill(random())) moments.push(moment)
          }
        }
        const onEvent = (event: LaunchEvent) => {
          killer.onEvent(event)
          if (event.kind !== 'executor' || !('step' in event)) return
          if (event.step === 'program-started') strike()
        }
        const onLine = (line: string) => {
          if (!isTask(line)) return
          tasks += 1
          strike()
        }
        const outcome = await launchSpark(scene, { onLine }, { executors: 2, onEvent })
        await expectRightOrNothing(scene, outcome)
        expect(killer.killed).toHaveLength(2)
        expect(outcome).toMatchObject({ outcome: 'completed' })
        // Others may have given up with them, and are replaced as well.
        const lost = scene.events.flatMap(event =>
          event.kind === 'warning' && event.code === 'EXECUTOR_LOST'
            ? (/^executor-\d+/.exec(event.message)?.[0] ?? [])
            : [],
        )
        expect(lost).toEqual(expect.arrayContaining(killer.killed))
      },
    )

    it.runIf(SLOW && canRun)('goes on where its only executor is cut off from it', async () => {
      const scene = await make('count')
      const pass = watching(() => {})
      const callers: Socket[] = []
      const wire: Wire = (from, to) => {
        callers.push(from)
        pass(from, to)
      }
      const atHalf = async () => {
        for (const caller of callers) caller.destroy()
      }
      const outcome = await launchSpark(scene, { atHalf }, { executors: 1, wire })
      expect(outcome).toMatchObject({ outcome: 'completed' })
      await expectRight(scene)
      expect(warningsOf(scene)).toContain('EXECUTOR_LOST')
    })

    it.runIf(SLOW && canRun).each([
      { which: 'executors that shuffle', round: 1, areExecutors: true },
      { which: 'executors that shuffle', round: 2, areExecutors: true },
      { which: 'driver and executors', round: 3, areExecutors: false },
    ])(
      'never has another result where bits change between instances: $which, round $round',
      async ({ areExecutors, round }) => {
        const many = peopleOf(6000)
        const scene = await make('count', many)
        const random = seeded(SEED + 300 + round)
        let changed = 0
        let fetched = 0
        let until = 20_000 + random() * 100_000
        const wire = watching((bytes, between) => {
          if (isOfExecutors(between) !== areExecutors || changed === 4) return
          until -= bytes.length
          if (until > 0) return
          flip(bytes, Math.floor(random() * bytes.length))
          changed += 1
          until = random() * 200_000
        })
        const onLine = (line: string) => {
          fetched += Number(/^task .*: fetched (\d+)$/.exec(line)?.[1] ?? 0)
        }
        const outcome = await launchSpark(scene, { onLine }, { executors: 2, wire })
        await expectRightOrNothing(scene, outcome, many)
        expect(changed).toBe(4)
        if (!areExecutors) return
        expect(fetched).toBeGreaterThan(200_000)
        // Blocks were being fetched where a connection ended.
        expect(outcome.stderr).toMatch(/outstanding when connection from .*:7079 is closed/)
      },
    )

    it.runIf(SLOW && canRun)(
      'lets one of two jobs that write one dataset win, wholly',
      async () => {
        const scene = await make('count')
        const command = { kind: 'exec' as const, argv: ['names'] }
        const job = { ...scene.job, command }
        await scene.allow(job)
        const gate = new Gate(2)
        const saying = { atHalf: gate.pass }
        const [count, names] = await Promise.all([
          gate.until(launchSpark(scene, saying, { executors: 1 })),
          gate.until(launchSpark(scene, saying, { executors: 1, job })),
        ])
        expect(gate.isPassed).toBe(true)
        const isCounts = count.outcome === 'completed'
        const loser = isCounts ? names : count
        expect([count, names].filter(({ outcome }) => outcome === 'completed')).toHaveLength(1)
        expect(loser).toMatchObject({ failure: { code: 'HEAD_CONFLICT' } })
        if (isCounts) await expectRight(scene)
        else await expectNames(scene)
        // Nothing of the loser's lies beside it.
        const parts = await partsOf(scene.outputFolder, scene.job.outputs[0]?.datasetId)
        const left = readdirSync(scene.outputFolder).filter(name => name.includes('part-'))
        expect(left).toHaveLength(parts.length)
        expect(readdirSync(scene.outputFolder)).toHaveLength(parts.length + 3)
      },
    )

    it.runIf(SLOW && canRun && canMount)(
      'says so where the disk of its output is full, and nothing is left',
      async () => {
        const scene = await make('count')
        // The pairs fit, and the people do not.
        const options = ['-o', 'mode=755,size=128k', 'tmpfs', scene.outputFolder]
        execFileSync('mount', ['-t', 'tmpfs', ...options])
        try {
          const outcome = await launchSpark(scene, {}, { executors: 1 })
          expect(outcome.stdout).toContain('half')
          expect(outcome).toMatchObject({ outcome: 'failed', failure: { code: 'PROGRAM' } })
          expect(outcome.stderr).toContain('No space left on device')
          await expectNothing(scene)
        } finally {
          execFileSync('umount', [scene.outputFolder])
        }
      },
    )

    it.runIf(SLOW && canRun)(
      'says so where its memory is too small for what it shuffles, and nothing is left',
      async () => {
        const scene = await make('much')
        const image = await world.buildOther(sparkDefinition(spark, { memoryMiB: 1280 }))
        const job = { ...scene.job, measurement: image.measurement }
        await scene.allow(job)
        const started = launchSpark(scene, {}, { executors: 1, image: image.folder, job })
        const end: { code?: string; failure?: { code: string } } = await started.catch(
          error => error,
        )
        // Spark gives up at the same time as the launcher has nobody left.
        const codes = ['EXECUTORS', 'PROGRAM']
        expect(codes).toContain(end.failure?.code ?? end.code)
        const told = scene.events.flatMap(event => {
          if (event.kind === 'isolation') return event.isolation.limits.memory
          return event.kind === 'warning' ? `${event.code} ${event.message}` : []
        })
        if (told[0]?.startsWith('cgroup')) {
          const why = 'the instance used more than the 1280 MiB that its image declares'
          expect(told[1]).toMatch(
            `EXECUTOR_LOST executor-1: PROGRAM: the program was ended by SIGKILL; ${why}`,
          )
        }
        await expectNothing(scene)
      },
    )

    it.runIf(SLOW && canRun)('takes no executor of another image on its host', async () => {
      const scene = await make('count')
      const other = await world.buildOther(withoutPlugin())
      const of = { job: scene.job, pin: world.kms.pin, platform: world.platform }
      const folders = {
        ...{ inputs: { people: scene.inputFolder }, outputs: { result: scene.outputFolder } },
      }
      const hosts: Promise<ExecutorResult>[] = []
      const call = (driver: HostAddress, image: string) => {
        const said = { stdout: new PassThrough().resume(), stderr: new PassThrough().resume() }
        hosts.push(launchExecutor({ ...of, ...folders, ...said, image, driver }))
      }
      let driver: HostAddress | undefined
      const onEvent = (event: LaunchEvent) => {
        if (event.kind === 'listening') driver = parseHostAddress(event.address)
        if (driver === undefined) return
        if (event.kind === 'listening') call(driver, other.folder)
        // These are there before it has a result.
        if (event.kind !== 'warning' || event.code !== 'EXECUTOR_REFUSED') return
        for (let count = 0; count < 2; count += 1) call(driver, world.image.folder)
      }
      const listen = { host: '127.0.0.1', port: 0 }
      const launched = launchSpark(scene, {}, { executors: 2, hosts: { listen }, onEvent })
      expect(await launched).toMatchObject({ outcome: 'completed' })
      await expectRight(scene)
      const [rogue, ...good] = await Promise.all(hosts)
      expect(rogue).toMatchObject({ outcome: 'refused', failure: { code: 'MEASUREMENT' } })
      expect(good.flatMap(({ names }) => names).sort()).toEqual(['executor-2', 'executor-3'])
      const warnings = scene.events.filter(event => event.kind === 'warning')
      expect(warnings).toMatchObject([
        {
          code: 'EXECUTOR_REFUSED',
          message: expect.stringMatching(/^executor-1: MEASUREMENT: .*[0-9a-f]{64}/),
        },
      ])
    })

    it.runIf(SLOW && canRun)('gives no task to an executor without the plugin', async () => {
      const scene = await make('count')
      const image = await world.buildOther(withoutPlugin())
      const job = { ...scene.job, measurement: image.measurement }
      await scene.allow(job)
      const outcome = await launchSpark(scene, {}, { executors: 2, image: image.folder, job })
      expect(outcome).toMatchObject({ outcome: 'completed' })
      await expectRight(scene)
      const why = 'it has not loaded io.cloister.spark.cluster.CloisterPlugin'
      expect(outcome.stderr).toContain(`Cloister: executor 1 refused: ${why}`)
      expect(outcome.stdout).toContain('task of 2:')
      expect(outcome.stdout).not.toContain('task of 1:')
    })

    it.runIf(SLOW && canRun).each(['inputFolder', 'outputFolder'] as const)(
      'names the part where its host puts another job’s in its place: %s',
      async which => {
        const scenes = [await make('count'), await make('count')] as const
        const partsIn = async (scene: FilesScene) => [
          ...(await filesBelowWithBytes(scene[which], path => path.endsWith('.sealed'))),
        ]
        const names = scenes.map(() => new Set<string>())
        const gate = new Gate(2, async () => {
          const [ones, others] = [await partsIn(scenes[0]), await partsIn(scenes[1])]
          expect(ones.length).toBeGreaterThan(2)
          expect(others).toHaveLength(ones.length)
          for (const [index, [path, bytes]] of ones.entries()) {
            const [otherPath, otherBytes] = others[index] ?? ['', Buffer.alloc(0)]
            writeFileSync(path, otherBytes)
            writeFileSync(otherPath, bytes)
            names[0]?.add(basename(path))
            names[1]?.add(basename(otherPath))
          }
        })
        const outcomes = await Promise.all(
          scenes.map(scene =>
            gate.until(launchSpark(scene, { atHalf: gate.pass }, { executors: 1 })),
          ),
        )
        expect(gate.isPassed).toBe(true)
        for (const [index, scene] of scenes.entries()) {
          const outcome = outcomes[index]
          if (outcome?.outcome !== 'failed') throw new Error('wanted a failure')
          const { code, message } = outcome.failure
          // An input's is found by a task, an output's by init when it signs.
          const isInput = which === 'inputFolder'
          expect(code).toBe(isInput ? 'PROGRAM' : 'OUTPUT')
          const [, part = ''] = isInput
            ? (/PART_FOREIGN: input people, part (\S+) \(/.exec(outcome.stderr) ?? [])
            : (/^output result: .* (part-\S+): PART_FOREIGN$/.exec(message) ?? [])
          expect([...(names[index] ?? [])]).toContain(part)
          await expectNothing(scene)
        }
      },
    )

    it.runIf(SLOW && canRun)(
      'comes to the right result, or none, where its executors are led to another job’s',
      async () => {
        const scenes = [await make('count'), await make('count')] as const
        const { wires, count } = crossed(6)
        const outcomes = await Promise.all(
          [scenes[0], scenes[1]].map((scene, job) =>
            launchSpark(scene, {}, { executors: 2, wire: job === 0 ? wires[0] : wires[1] }),
          ),
        )
        expect(count()).toBeGreaterThan(0)
        for (const [index, scene] of scenes.entries()) {
          expect(warningsOf(scene)).toContain('PEER_REFUSED')
          const outcome = outcomes[index]
          if (outcome !== undefined) await expectRightOrNothing(scene, outcome)
        }
      },
    )

    it.runIf(SLOW && canRun)('ends without a trace where its key is withdrawn', async () => {
      const scene = await make('count')
      const outcome = await launchSpark(
        scene,
        {
          atHalf: async () => {
            await world.owner.disableKey(scene.keyId)
          },
        },
        { executors: 1 },
      )
      expect(outcome).toMatchObject({ outcome: 'failed', failure: { code: 'PROGRAM' } })
      expect(outcome.stderr).toContain('DENIED: ')
      await expectNothing(scene)
    })

    it.runIf(SLOW && canRun)(
      'goes on when the key service is away for 30 seconds in the middle, and starts anew',
      async () => {
        const scene = await make('count')
        let isBack: Promise<void> | undefined
        let away = 0
        const outcome = await launchSpark(
          scene,
          {
            atHalf: async () => {
              await world.kms.close()
              away = Date.now()
              isBack = new Promise(resolve => setTimeout(resolve, 30_000)).then(() =>
                world.restart(),
              )
            },
          },
          { executors: 1 },
        )
        await isBack
        expect(Date.now() - away).toBeGreaterThan(30_000)
        expect(outcome).toMatchObject({ outcome: 'completed' })
        await expectRight(scene)
      },
    )
  },
)
