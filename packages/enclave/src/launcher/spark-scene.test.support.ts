import { readdirSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { datasetIdFrom } from '@cloister/sealed'
import { expect } from 'vitest'
import type { LaunchEvent } from './event.ts'
import { FilesScene, type Outcome, type Tree } from './files-scene.test.support.ts'
import type { Wire } from './switchboard.ts'
import type { World } from './world.test.support.ts'

/** What a job reads, and is to write. */
export interface People {
  readonly lines: readonly string[]
  /** The lines in three files. */
  readonly files: Tree
  /** Rows of `count`: how many pairs there are of each age and town. */
  readonly pairs: readonly string[]
}

/** So many people, as many of each age and town as of any other. */
export function peopleOf(rows: number): People {
  const lines = Array.from(
    { length: rows },
    (_, index) => `person-nobody-knows-${index},${20 + (index % 5)},Town-nobody-knows-${index % 4}`,
  )
  const each = rows / 20
  return {
    lines,
    files: Object.fromEntries(
      [0, 1, 2].map(file => [
        `${file}.csv`,
        lines
          .filter((_, index) => index % 3 === file)
          .map(line => `${line}\n`)
          .join(''),
      ]),
    ),
    pairs: [20, 21, 22, 23, 24].flatMap(age =>
      [0, 1, 2, 3].map(town => `${age},Town-nobody-knows-${town},${(each * (each - 1)) / 2}`),
    ),
  }
}

const FEW = peopleOf(600)

/** What io.cloister.spark.instances.JobMain does. */
export type What = 'count' | 'hold' | 'names' | 'much'

/** A job over sealed people, whose plaintext lies nowhere. */
export async function makeSparkScene(
  world: World,
  what: What,
  { files }: People = FEW,
): Promise<FilesScene> {
  const scene = await FilesScene.make(world, [what], files)
  rmSync(join(scene.folder, 'plain'), { recursive: true })
  return scene
}

const rowsOf = (text: string) => text.split('\n').filter(row => row !== '')

/** The rows that `count` is to write, and no others. */
export async function expectRight(
  scene: FilesScene,
  { lines, pairs }: People = FEW,
): Promise<void> {
  const found: string[] = []
  for (const [path, text] of Object.entries(await scene.results())) {
    if (path.startsWith('pairs/')) found.push(...rowsOf(text))
    else if (path.startsWith('people/')) {
      const age = /\/age=(\d+)\//.exec(path)?.[1]
      found.push(...rowsOf(text).map(row => row.split(',').toSpliced(1, 0, `${age}`).join()))
    } else throw new Error(`nobody wrote ${path}`)
  }
  expect(found.sort()).toEqual([...pairs, ...lines].sort())
}

/** The rows that `names` is to write, and no others. */
export async function expectNames(scene: FilesScene): Promise<void> {
  const found = Object.values(await scene.results()).flatMap(rowsOf)
  expect(found.sort()).toEqual(FEW.lines.map(line => line.split(',')[0]).sort())
}

/** That nothing is to be seen of a job's output: neither to its host nor to the key service. */
export async function expectNothing(scene: FilesScene): Promise<void> {
  expect(readdirSync(scene.outputFolder)).toEqual([])
  const datasetId = datasetIdFrom(scene.job.outputs[0]?.datasetId ?? '')
  expect(await scene.world.owner.getHead(datasetId)).toBeNull()
}

/** What a job may come to at worst. */
export async function expectRightOrNothing(
  scene: FilesScene,
  outcome: Outcome,
  people: People = FEW,
): Promise<void> {
  if (outcome.outcome === 'completed') await expectRight(scene, people)
  else await expectNothing(scene)
}

/** Numbers in [0, 1) that the seed says. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    // Numerical Recipes' linear congruential generator.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** Another bit. */
export const flip = (bytes: Buffer, at: number) => {
  bytes[at] = (bytes[at] ?? 0) ^ 1
}

/** Where several wait for each other, or for whoever has ended without having come. */
export class Gate {
  #missing: number
  readonly #act: () => Promise<void>
  readonly #open: Promise<void>
  #letGo: () => void = () => {}

  /** @param act - What is done when all are there. */
  constructor(of: number, act: () => Promise<void> = async () => {}) {
    this.#missing = of
    this.#act = act
    this.#open = new Promise(resolve => {
      this.#letGo = resolve
    })
  }

  /** Whether all have come. */
  get isPassed(): boolean {
    return this.#missing === 0
  }

  readonly pass = async (): Promise<void> => {
    this.#missing -= 1
    if (this.isPassed) await this.#act().finally(this.#letGo)
    await this.#open
  }

  /** Keeps nobody waiting for what has ended. */
  async until<T>(end: Promise<T>): Promise<T> {
    return await end.finally(this.#letGo)
  }
}

/** Kills executors that run, as the machine's owner can. */
export class Killer {
  readonly #alive = new Map<string, number>()
  readonly killed: string[] = []

  readonly onEvent = (event: LaunchEvent): void => {
    if (event.kind === 'executor' && 'pid' in event) this.#alive.set(event.name, event.pid)
  }

  /**
   * Kills one.
   * @param which - In [0, 1).
   * @returns whether there was one
   */
  kill(which: number): boolean {
    const [name, pid] = [...this.#alive][Math.floor(which * this.#alive.size)] ?? []
    if (name === undefined || pid === undefined) return false
    this.#alive.delete(name)
    process.kill(pid, 'SIGKILL')
    this.killed.push(name)
    return true
  }
}

/** Who calls whom on a connection, as its first bytes say to everybody. */
export interface Between {
  readonly from: string
  readonly to: string
}

const CALL = /cloister run v1 (\S+) (\S+) (?:keys|\d)/

const betweenOf = (hello: Buffer): Between => {
  const [, from = '', to = ''] = CALL.exec(hello.toString('latin1')) ?? []
  return { from, to }
}

/** Whether both are executors: what these fetch from each other are shuffled blocks, and broadcasts. */
export const isOfExecutors = ({ from, to }: Between) =>
  from.startsWith('executor-') && to.startsWith('executor-')

/** Passes everything on, as whoever sees it leaves it. */
export function watching(see: (bytes: Buffer, between: Between) => void): Wire {
  return (from, to) => {
    let between: Between = { from: '', to: '' }
    from.once('data', (hello: Buffer) => {
      between = betweenOf(hello)
    })
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      one.on('data', (bytes: Buffer) => see(bytes, between))
      one.on('error', () => other.destroy())
      one.pipe(other)
    }
  }
}

/** How long a connection waits for one of the other job to be crossed with. */
const ALONE_MS = 8000

/**
 * The wires of two jobs whose executors' connections lead to the other job's, two at a time; as many
 * as are said, and then no more.
 */
export function crossed(times: number): { wires: readonly [Wire, Wire]; count: () => number } {
  const pass = watching(() => {})
  const waiting: [(other: readonly [Socket, Socket]) => void, 0 | 1][] = []
  let count = 0
  const wireOf =
    (here: 0 | 1): Wire =>
    (from, to) => {
      from.once('data', (hello: Buffer) => {
        from.pause()
        from.unshift(hello)
        if (count >= times || !isOfExecutors(betweenOf(hello))) {
          pass(from, to)
          return
        }
        const at = waiting.findIndex(([, job]) => job !== here)
        const [join] = waiting.splice(at, at < 0 ? 0 : 1)[0] ?? []
        if (join !== undefined) {
          count += 1
          join([from, to])
          return
        }
        const timer = setTimeout(() => {
          waiting.splice(waiting.indexOf(entry), 1)
          pass(from, to)
        }, ALONE_MS)
        const entry: (typeof waiting)[number] = [
          ([itsFrom, itsTo]) => {
            clearTimeout(timer)
            pass(from, itsTo)
            pass(itsFrom, to)
          },
          here,
        ]
        waiting.push(entry)
      })
      from.resume()
    }
  return { wires: [wireOf(0), wireOf(1)], count: () => count }
}
