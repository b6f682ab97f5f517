import { randomInt } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openOwnDataset } from '@cloister/kms'
import { datasetIdFrom, type PartWithKey } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyImage } from '../image/verify.ts'
import type { LaunchEvent } from './event.ts'
import { FilesScene, type Outcome, type Tree } from './files-scene.test.support.ts'
import { KmsProxy } from './proxy.test.support.ts'
import {
  buildSpark,
  filesBelowWithBytes,
  hasMaven,
  launchSpark,
  type SparkFiles,
  sparkDefinition,
} from './spark.test.support.ts'
import { hasSandbox } from './start.ts'
import type { Wire } from './switchboard.ts'
import { World } from './world.test.support.ts'

// The real Spark, as a driver and executors in sandboxes of their own: what its host sees of it, and
// what its host and its machine do to it.
const SLOW = process.env['SLOW'] === '1'
const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31))

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

async function make(what: 'count' | 'hold'): Promise<FilesScene> {
  const scene = await FilesScene.make(world, [what], FILES)
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
