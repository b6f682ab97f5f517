/** Shared by the benchmarks of Spark: an image with the connector, data, runs sealed and plain in turns. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DuckDBInstance } from '@duckdb/node-api'
import { begin, cloister, lock, MAIN, makeJob, ROOT, seconds } from './enclave-world.mjs'
import { median } from './measure.mjs'

export const SLOW = process.env.SLOW === '1'

/** Of what is asked for. The whole takes two processors some minutes a round. */
export const SCALE = Number(
  process.env.SPARK_SCALE ?? (SLOW || availableParallelism() >= 8 ? 1 : 0.25),
)

/** Builds the connector, and begins what images run in. */
export async function beginSpark() {
  const connector = join(ROOT, 'connectors/spark/pom.xml')
  const maven = ['--batch-mode', '--quiet', '--file', connector, '-DskipTests', '-DskipITs']
  execFileSync('mvn', [...maven, 'package'], { stdio: ['ignore', 'ignore', 'inherit'] })
  return await begin()
}

/** Builds the image of an example, as the copy of it is. @returns its folder */
export function buildExample(world, example) {
  const definition = join(world.folder, 'examples', example, 'enclave.yaml')
  lock(world, definition)
  const image = join(world.folder, `${example}.image`)
  cloister(world, 'enclave', 'build', definition, image)
  return image
}

/** Writes TPC-H's tables. @returns their folder */
export function tpchTables({ folder }, scale) {
  const tables = join(folder, `tpch-${scale}`)
  const generator = join(ROOT, 'examples/spark-tpch/generate.mjs')
  execFileSync(process.execPath, [generator, tables, `${scale}`])
  return tables
}

export const millions = rows => `${+(rows / 1e6).toFixed(2)}M`

/** The engine's benchmark asks of the same kind of people. */
export async function people({ folder }, rows) {
  const file = join(folder, `people-${rows}.csv`)
  const database = await (await DuckDBInstance.create()).connect()
  await database.run(`COPY (
    SELECT 'n' || (hash(i) % 1000000)::VARCHAR AS name, 18 + (hash(i + 1) % 43)::INTEGER AS age,
      list_extract(['Developer', 'Engineer', 'Researcher'], 1 + (hash(i + 2) % 3)::INTEGER) AS job
    FROM range(${rows}) t(i)) TO '${file}' (HEADER)`)
  return file
}

/**
 * Runs a job and the same program over the plain data by turns.
 * @param job - `options`: of `cloister run`. `settings`: folder of Spark's for plain files.
 *   `arrangement`: more of what bubblewrap is to put there.
 */
export async function inTurns(world, rounds, job) {
  const { image, name, plain, input, entryPoint, options = [] } = job
  const file = makeJob(world, { image, plain, input, output: 'result', job: name, entryPoint })
  const sealed = [process.execPath, MAIN, '--home', world.home, 'run', file, ...options]
  const runs = { sealed: [], plain: [] }
  for (let round = 0; round < rounds; round++) {
    runs.sealed.push(await timed(sealed))
    runs.plain.push(await timed(bare(world, job)))
  }
  rmSync(plain, { recursive: true })
  rmSync(join(world.folder, 'sealed'), { recursive: true })
  return runs
}

/** The program from the image's files, with the same variables but Spark's settings for plain files. */
function bare({ folder }, { image, plain, input, entryPoint, settings, arrangement = [] }) {
  const { entry, environment } = JSON.parse(readFileSync(join(image, 'manifest.json'), 'utf8'))
  const { program } = entryPoint === 'main' ? entry : entry.others[entryPoint]
  const [root, out] = [join(image, 'root'), join(folder, 'bare')]
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out)
  const at = plain.endsWith('.csv') ? `/in/${input}/${input}.csv` : `/in/${input}`
  const variables = { ...environment, SPARK_CONF_DIR: '/plain' }
  return [
    ...['bwrap', '--clearenv', '--unshare-net'],
    ...readdirSync(root).flatMap(name => ['--ro-bind', join(root, name), `/${name}`]),
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--tmpfs', '/in', '--tmpfs', '/out'],
    ...['--ro-bind', plain, at, '--bind', out, '/out/result', '--chdir', '/tmp'],
    ...['--ro-bind', settings, '/plain'],
    ...Object.entries(variables).flatMap(([name, value]) => ['--setenv', name, value]),
    ...arrangement,
    ...['--', ...program],
  ]
}

/**
 * Runs a command to its end.
 * @returns milliseconds of all of it, to the program's start where it says so, of the program, and
 *   of the session's start and each query where it prints the time of them.
 */
export async function timed([command, ...argv]) {
  const begun = performance.now()
  const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise(resolve => child.once('exit', resolve))
  const [steps, queries, said] = [new Map(), new Map(), []]
  let session
  const printed = async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const [, what, time] = /^(start|query \d+): ([\d.]+) s$/.exec(line) ?? []
      if (what === 'start') session = Number(time) * 1000
      else if (what !== undefined) queries.set(what, Number(time) * 1000)
    }
  }
  const told = async () => {
    for await (const line of createInterface({ input: child.stderr })) {
      steps.set(line, performance.now() - begun)
      said.push(line)
    }
  }
  const [code] = await Promise.all([exited, printed(), told()])
  if (code !== 0) throw new Error(`${command} ended with ${code}:\n${said.join('\n')}`)
  const whole = performance.now() - begun
  const started = steps.get('program-started') ?? 0
  const program = (steps.get('program-ended') ?? whole) - started
  return { whole, started, program, session, queries }
}

/** What is measured over TPC-H's tables. */
export const TPCH = `TPC-H's 22 queries at scale ${SCALE} (our data), sealed Parquet`

/**
 * Rows of TPC-H's queries.
 * @param name - What ran them, over what
 * @param runs - Of `inTurns`
 */
export function tpchRows(name, { sealed, plain }) {
  const times = runs =>
    [...runs[0].queries.keys()].map(query => median(runs.map(({ queries }) => queries.get(query))))
  const [inside, outside] = [times(sealed), times(plain)]
  const ratios = inside.map((time, query) => time / outside[query])
  const total = all => all.reduce((sum, time) => sum + time, 0)
  return [
    {
      name: `${name}: the queries in total`,
      ratio: total(inside) / total(outside),
      wanted: '≤ 1.10',
      measured: `${seconds(total(inside))}; by query ${ratios.map((ratio, i) => `${i + 1}: ${ratio.toFixed(2)}`).join(', ')}`,
      baseline: `the same over plain Parquet, ${seconds(total(outside))}`,
    },
    {
      name: `${name}: the whole command, start and attestation included`,
      ...wholeOf(sealed, plain),
      wanted: '≤ 1.20',
    },
  ]
}

/** From the command to its end: image verified, attested, run, results verified and signed. */
function wholeOf(sealed, plain) {
  const [inside, outside] = [sealed, plain].map(runs => median(runs.map(({ whole }) => whole)))
  const start = median(sealed.map(({ started }) => started))
  return {
    ratio: inside / outside,
    measured: `${seconds(inside)}, of that ${seconds(start)} to the program's start`,
    baseline: `the same program and files, no enclave, ${seconds(outside)}`,
  }
}
