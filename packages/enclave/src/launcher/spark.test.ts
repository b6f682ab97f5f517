import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomInt } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Transform } from 'node:stream'
import { openOwnDataset, sealFiles } from '@cloister/kms'
import { datasetIdFrom, filesBelow, MANIFEST_NAME, type PartWithKey } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildImage } from '../image/build.ts'
import { verifyImage } from '../image/verify.ts'
import type { LaunchEvent } from './event.ts'
import { FilesScene, type Outcome, type Tree } from './files-scene.test.support.ts'
import { type InstanceResult, launchInstance } from './instance.ts'
import { KmsProxy } from './proxy.test.support.ts'
import {
  buildSpark,
  filesBelowWithBytes,
  hasMaven,
  launchSpark,
  type SparkFiles,
  sparkDefinition,
} from './spark.test.support.ts'
import { findBubblewrap, hasSandbox, strongestConfinement } from './start.ts'
import { Switchboard, type Wire } from './switchboard.ts'
import { canMount, World } from './world.test.support.ts'

// The real Spark, as a driver and executors in sandboxes of their own: what its host sees of it, and
// what its host and its machine do to it.
const SLOW = process.env['SLOW'] === '1'
const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31))
const ROUNDS = SLOW ? 3 : 1

const reason = hasMaven ? '' : ' (skipped: Maven or a JDK is not installed here)'
const canRun = hasMaven && (await hasSandbox())

const ROWS = 600
const people = Array.from({ length: ROWS }, (_, index) => ({
  name: `person-nobody-knows-${index}`,
  age: 20 + (index % 5),
  town: `Town-nobody-knows-${index % 4}`,
}))
const lines = people.map(({ name, age, town }) => `${name},${age},${town}`)
const FILES: Tree = Object.fromEntries(
  [0, 1, 2].map(file => [
    `${file}.csv`,
    lines
      .filter((_, index) => index % 3 === file)
      .map(line => `${line}\n`)
      .join(''),
  ]),
)
const MARKS = ['nobody-knows', Buffer.from('nobody-knows', 'utf16le'), '"dek"', '"deks"']

/** Of each age and town there are as many. */
const EACH = ROWS / 20
const PAIRS = [20, 21, 22, 23, 24].flatMap(age =>
  [0, 1, 2, 3].map(town => `${age},Town-nobody-knows-${town},${(EACH * (EACH - 1)) / 2}`),
)

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

async function make(what: 'count' | 'look' | 'hold', files: Tree = FILES): Promise<FilesScene> {
  const scene = await FilesScene.make(world, [what], files)
  rmSync(join(scene.folder, 'plain'), { recursive: true })
  return scene
}

const rowsBelow = (tree: Tree, name: string) =>
  Object.entries(tree).flatMap(([path, text]) =>
    path.startsWith(`${name}/`)
      ? text
          .trimEnd()
          .split('\n')
          .map(row => [path, row] as const)
      : [],
  )

/** The rows that `count` is to write, and no others. */
async function expectRight(scene: FilesScene): Promise<void> {
  const tree = await scene.results()
  expect(
    rowsBelow(tree, 'pairs')
      .map(([, row]) => row)
      .sort(),
  ).toEqual(PAIRS)
  const written = rowsBelow(tree, 'people').map(([path, row]) => {
    const [name, town] = row.split(',')
    return `${name},${/age=(\d+)/.exec(path)?.[1]},${town}`
  })
  expect(written.sort()).toEqual([...lines].sort())
}

/** That nothing is to be seen of a job's output: neither to its host nor to the key service. */
async function expectNothing(scene: FilesScene): Promise<void> {
  expect(readdirSync(scene.outputFolder)).toEqual([])
  const datasetId = datasetIdFrom(scene.job.outputs[0]?.datasetId ?? '')
  expect(await world.owner.getHead(datasetId)).toBeNull()
}

/** What a job may come to at worst. */
async function expectRightOrNothing(scene: FilesScene, outcome: Outcome): Promise<void> {
  if (outcome.outcome === 'completed') await expectRight(scene)
  else await expectNothing(scene)
}

const partsOf = async (of: string, datasetId = ''): Promise<readonly PartWithKey[]> =>
  (await openOwnDataset(world.owner, of, datasetIdFrom(datasetId))).parts

/** Numbers in [0, 1) that the seed says. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    // Numerical Recipes' linear congruential generator.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

const flip = (bytes: Buffer, at: number) => {
  bytes[at] = (bytes[at] ?? 0) ^ 1
}

/** Passes everything on, and shows it. */
function watching(see: (bytes: Buffer) => void): Wire {
  return (from: Socket, to: Socket) => {
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      one.on('data', see)
      one.on('error', () => other.destroy())
      one.pipe(other)
    }
  }
}

/** What a run of all of `count` takes: tasks that end, and bytes between instances. */
const whole = { tasks: 0, bytes: 0 }

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
        const wire = watching(bytes => {
          carried.push(bytes)
          whole.bytes += bytes.length
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
        whole.tasks = outcome.stdout.split('\n').filter(line => line === 'task').length

        // There was something to see: tables were shuffled, by TLS alone.
        expect(whole.bytes).toBeGreaterThan(200_000)
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

    it.runIf(SLOW && canRun).each(Array.from({ length: ROUNDS }, (_, round) => round))(
      'has the right result, or none, where bits change on the wire: round %i',
      async round => {
        const scene = await make('count')
        const random = seeded(SEED + round)
        const next = () => Math.floor(random() * 0.5 * (whole.bytes || 500_000))
        let left = next()
        let changed = 0
        const altered = () =>
          new Transform({
            transform(bytes: Buffer, _encoding, done) {
              left -= bytes.length
              if (left < 0 && changed < 2) {
                changed += 1
                left = next()
                flip(bytes, Math.floor(random() * bytes.length))
              }
              done(null, bytes)
            },
          })
        const wire: Wire = (from, to) => {
          for (const socket of [from, to]) socket.on('error', () => {})
          from.pipe(altered()).pipe(to)
          to.pipe(altered()).pipe(from)
        }
        const outcome = await launchSpark(scene, {}, { executors: 2, wire })
        expect(changed).toBeGreaterThan(0)
        await expectRightOrNothing(scene, outcome)
      },
    )

    it.runIf(canRun).each(Array.from({ length: ROUNDS }, (_, round) => round))(
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

    it.runIf(SLOW && canRun).each(Array.from({ length: ROUNDS }, (_, round) => round))(
      'comes to the right result where an executor is killed at a random moment: round %i',
      async round => {
        const scene = await make('count')
        const random = seeded(SEED + 200 + round)
        const at = 1 + Math.floor(random() * ((whole.tasks || 40) - 1))
        const victim = 1 + Math.floor(random() * 2)
        const pids = new Map<string, number>()
        let tasks = 0
        let isKilled = false
        const onLine = (line: string) => {
          if (line !== 'task') return
          tasks += 1
          const pid = pids.get(`executor-${victim}`)
          if (tasks !== at || pid === undefined) return
          process.kill(pid, 'SIGKILL')
          isKilled = true
          expect(readdirSync(scene.outputFolder).filter(name => !name.startsWith('.'))).toEqual([])
        }
        const onEvent = (event: LaunchEvent) => {
          if (event.kind === 'executor' && 'pid' in event) pids.set(event.name, event.pid)
        }
        const outcome = await launchSpark(scene, { onLine }, { executors: 2, onEvent })
        expect(outcome, `${at} tasks, executor ${victim}`).toMatchObject({ outcome: 'completed' })
        expect(isKilled).toBe(true)
        await expectRight(scene)
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
          if (line === 'task') tasks += 1
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
        const started = Date.now()
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
        expect(away).toBeGreaterThan(started)
        expect(Date.now() - away).toBeGreaterThan(30_000)
        expect(outcome).toMatchObject({ outcome: 'completed' })
        await expectRight(scene)
      },
    )

    it.runIf(SLOW && canRun)(
      'is one of two that write one dataset; the other says so; and neither has a file of shuffles',
      async () => {
        const scene = await make('count')
        const other = join(scene.folder, 'other')
        mkdirSync(other)
        let waiting = 0
        let onBoth = () => {}
        const both = new Promise<void>(resolve => {
          onBoth = resolve
        })
        const shuffles: number[] = []
        const seen: string[] = []
        const saying = {
          atHalf: async (line: string) => {
            shuffles.push(Number(line.split(' ')[1]))
            waiting += 1
            if (waiting === 2) onBoth()
            await both
            const entries = readdirSync(folder, { recursive: true, encoding: 'utf8' })
            seen.push(...entries.filter(name => /shuffle|blockmgr|spark-|temp_/.test(name)))
          },
        }
        const outcomes = await Promise.all([
          launchSpark(scene, saying),
          launchSpark(scene, saying, { outputs: { result: other } }),
        ])
        const won = outcomes.findIndex(({ outcome }) => outcome === 'completed')
        const lost = outcomes[1 - won]
        expect(outcomes[won]).toMatchObject({ outcome: 'completed' })
        expect(lost).toMatchObject({ outcome: 'failed', failure: { code: 'STALE_DATASET' } })
        const folders = [scene.outputFolder, other]
        expect(readdirSync(folders[1 - won] ?? '')).toEqual([])
        const parts = await partsOf(folders[won] ?? '', scene.job.outputs[0]?.datasetId)
        expect(parts.length).toBeGreaterThan(10)
        // Each has its shuffle files, with rows in them, in its own memory: its host has none to swap.
        for (const count of shuffles) expect(count).toBeGreaterThan(0)
        expect(seen.filter(name => !name.startsWith('cloister-launch-'))).toEqual([])
        expect(seen.filter(name => /shuffle_|blockmgr/.test(name))).toEqual([])
      },
    )

    it.runIf(SLOW && canRun)(
      'names each part that its host spoils while it runs, where, and how; what is added is not there',
      async () => {
        const big = (town: number) =>
          people.map(({ name }) => `${name},20,Town-${town}-${'x'.repeat(200)}\n`).join('')
        const names = ['flipped', 'removed', 'cut', 'swapped', 'whole']
        const files = Object.fromEntries(names.map((name, town) => [`${name}.csv`, big(town)]))
        const scene = await make('look', files)
        const parts = await partsOf(scene.inputFolder, scene.job.inputs[0]?.datasetId)
        const fileOf = (name: string) => {
          const found = parts.find(({ part }) => part.path === `${name}.csv`)
          return join(scene.inputFolder, found?.part.entry.name ?? '')
        }
        const outcome = await launchSpark(scene, {
          atHalf: async () => {
            const flipped = readFileSync(fileOf('flipped'))
            flip(flipped, 4096 + 70_000)
            writeFileSync(fileOf('flipped'), flipped)
            rmSync(fileOf('removed'))
            writeFileSync(fileOf('cut'), readFileSync(fileOf('cut')).subarray(0, -100))
            writeFileSync(fileOf('swapped'), readFileSync(fileOf('whole')))
            writeFileSync(join(scene.inputFolder, 'part-00009-added.sealed'), flipped)
          },
        })
        expect(outcome).toMatchObject({ outcome: 'completed' })
        const said = outcome.stdout.split('\n')
        const after = (name: string) =>
          said
            .find(line => line.startsWith(`after ${name}.csv `))
            ?.slice(`after ${name}.csv `.length)
        for (const name of names) expect(said).toContain(`before ${name}.csv ${ROWS}`)
        expect(after('whole')).toBe(`${ROWS}`)
        expect(after('flipped')).toMatch(/TAG: input people, part \S+ \(flipped\.csv\).*\b\d{5}\b/)
        expect(after('removed')).toMatch(/PART_MISSING: input people, part \S+ \(removed\.csv\)/)
        expect(after('cut')).toMatch(/PART_CHANGED: input people, part \S+ \(cut\.csv\).*length/)
        expect(after('swapped')).toMatch(/PART_(CHANGED|FOREIGN): input people, part \S+ \(swapped/)
        expect(said).toContain(`listed ${names.length}`)
      },
    )

    it.runIf(SLOW && canRun)(
      'is not begun over a part that is missing, or an older version',
      async () => {
        const scene = await make('count')
        const before = await filesBelowWithBytes(scene.inputFolder, () => true)
        const [first = ''] = [...before.keys()].filter(path => path.endsWith('.sealed'))
        rmSync(first)
        expect(await launchSpark(scene, {})).toMatchObject({ outcome: 'failed', stdout: '' })
        const plain = join(scene.folder, 'newer')
        mkdirSync(plain)
        writeFileSync(join(plain, 'newer.csv'), 'person,20,Town\n')
        for (const path of before.keys()) rmSync(path, { force: true })
        const { owner, ownerKey } = world
        await sealFiles({
          ...{ client: owner, keyId: scene.keyId, folder: scene.inputFolder, ownerKey },
          files: await filesBelow(plain),
          mediaType: 'application/octet-stream',
          datasetId: datasetIdFrom(scene.job.inputs[0]?.datasetId ?? ''),
        })
        rmSync(scene.inputFolder, { recursive: true })
        mkdirSync(scene.inputFolder)
        for (const [path, bytes] of before) writeFileSync(path, bytes)
        const older = await launchSpark(scene, {})
        expect(older).toMatchObject({ outcome: 'failed', stdout: '' })
        expect(older.outcome === 'failed' && older.failure.code).toMatch(
          /STALE_DATASET|VERSION|RELEASE/,
        )
        await expectNothing(scene)
      },
    )

    it.runIf(SLOW && canRun && canMount)(
      'leaves nothing where its outputs’ disk is full',
      async () => {
        const scene = await make('count')
        const at = scene.outputFolder
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755,size=96k', 'tmpfs', at])
        try {
          const outcome = await launchSpark(scene, {})
          expect(outcome).toMatchObject({ outcome: 'failed', failure: { code: 'PROGRAM' } })
          expect(outcome.stdout).toContain('half')
          expect(outcome.stderr).toContain('No space left on device')
          await expectNothing(scene)
        } finally {
          execFileSync('umount', [at])
        }
      },
    )

    it.runIf(SLOW && canRun)(
      'has no executor of another measurement, gives none without the plugin a task, and ends',
      async () => {
        const scene = await make('count')
        const job = { ...scene.job, environment: { WITHOUT_PLUGIN: 'executor-2' } }
        await scene.allow(job)
        const { folder: otherImage } = await buildImage({
          definition: sparkDefinition(spark, 'other'),
          baseDir: spark.folder,
          out: join(world.folder, 'other'),
          signKey: generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 })
            .privateKey,
        })
        const image = await verifyImage(otherImage)
        const bubblewrap = findBubblewrap() ?? ''
        const confinement = await strongestConfinement(bubblewrap)
        if (confinement === 'none') throw new Error('there is no sandbox')
        const rogues: Promise<InstanceResult>[] = []
        const onEvent = (event: LaunchEvent) => {
          if (event.kind !== 'run') return
          const place = { role: 'executor', executors: 2, number: 8, runId: event.runId } as const
          for (const of of [job, { ...job, measurement: image.measurement }]) {
            const options = {
              ...{ image: otherImage, job: of, pin: world.kms.pin, platform: world.platform },
              ...{ inputs: { people: scene.inputFolder }, outputs: { result: scene.outputFolder } },
              ...{ onEvent: () => {}, among: { place, switchboard: new Switchboard() } },
              ...{ stdout: new PassThrough().resume(), stderr: new PassThrough().resume() },
            }
            rogues.push(launchInstance(options, { image, enclosure: { bubblewrap, confinement } }))
          }
        }
        const outcome = await launchSpark(scene, {}, { job, executors: 2, onEvent })
        expect(outcome).toMatchObject({ outcome: 'completed' })
        await expectRight(scene)
        expect(outcome.stderr).toMatch(
          /has not loaded io\.cloister\.spark\.cluster\.CloisterPlugin/,
        )
        expect(await Promise.all(rogues)).toMatchObject([
          { outcome: 'failed', failure: { code: 'MEASUREMENT' } },
          { outcome: 'failed', failure: { code: 'RELEASE_DENIED' } },
        ])
        expect(readdirSync(scene.outputFolder)).toContain(MANIFEST_NAME)
      },
    )
  },
)
