/**
 * Apache Spark in an instance over sealed data, against the same Spark from the same image's files
 * over plain data, in turns: TPC-H's queries over Parquet, a query over CSV, and growth. Packages
 * are fetched into bench/out/store and the connector is built first; that is not timed. SLOW=1 takes
 * the whole scale, more rounds, and growth of TPC-H too. SPARK_SCALE=0.01 only tries that it runs.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DuckDBInstance } from '@duckdb/node-api'
import { begin, cloister, end, lock, MAIN, makeJob, ROOT, seconds } from './enclave-world.mjs'
import { median } from './measure.mjs'

const SLOW = process.env.SLOW === '1'
// The whole scale takes two processors some minutes a round.
const SCALE = Number(process.env.SPARK_SCALE ?? (SLOW || availableParallelism() >= 8 ? 1 : 0.25))
const ROUNDS = SLOW ? 7 : 3
const ROWS = Math.round(10_000_000 * SCALE)

export async function run() {
  const connector = join(ROOT, 'connectors/spark/pom.xml')
  const maven = ['--batch-mode', '--quiet', '--file', connector, '-DskipTests', '-DskipITs']
  execFileSync('mvn', [...maven, 'package'], { stdio: ['ignore', 'ignore', 'inherit'] })
  const world = await begin()
  try {
    const definition = join(world.folder, 'examples/spark/enclave.yaml')
    lock(world, definition)
    world.image = join(world.folder, 'spark.image')
    cloister(world, 'enclave', 'build', definition, world.image)
    return [
      ...tpchRows(await tpch(world, SCALE)),
      ...(await queryRows(world)),
      ...(SLOW ? [await tpchGrowth(world)] : []),
    ]
  } finally {
    await end(world)
  }
}

/** TPC-H's queries, sealed and plain in turns. */
async function tpch(world, scale, rounds = ROUNDS) {
  // Each job has an output of its own, whose head the key service keeps.
  const name = `tpch-${scale}-${rounds}`
  const plain = join(world.folder, name)
  const generator = join(ROOT, 'examples/spark-tpch/generate.mjs')
  execFileSync(process.execPath, [generator, plain, `${scale}`])
  return await inTurns(world, rounds, { name, plain, input: 'tables', entryPoint: 'main' })
}

function tpchRows({ sealed, plain }) {
  const times = runs =>
    [...runs[0].queries.keys()].map(query => median(runs.map(({ queries }) => queries.get(query))))
  const [inside, outside] = [times(sealed), times(plain)]
  const ratios = inside.map((time, query) => time / outside[query])
  const total = all => all.reduce((sum, time) => sum + time, 0)
  const name = `Spark, TPC-H's 22 queries at scale ${SCALE} (our data), sealed Parquet`
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

/** SimpleQuery over CSV of one, two, four and eight eighths. */
async function queryRows(world) {
  const sizes = [1 / 8, 1 / 4, 1 / 2, 1].map(share => Math.round(ROWS * share))
  const ratios = []
  for (const rows of sizes) {
    const plain = await people(world, rows)
    const job = { name: `people-${rows}`, plain, input: 'people', entryPoint: 'query' }
    const { sealed, plain: bare } = await inTurns(world, ROUNDS, job)
    const programs = runs => median(runs.map(({ program }) => program))
    const [inside, outside] = [programs(sealed), programs(bare)]
    ratios.push({ rows, ratio: inside / outside, inside, outside })
  }
  const largest = ratios.at(-1)
  return [
    {
      name: `Spark, SimpleQuery over ${millions(largest.rows)} rows of CSV, start apart`,
      ratio: largest.ratio,
      wanted: '≤ 1.15',
      measured: seconds(largest.inside),
      baseline: `the same over the plain file, ${seconds(largest.outside)}`,
    },
    growthRow(
      'SimpleQuery',
      ratios.map(({ rows, ratio }) => ({ size: `${millions(rows)} rows`, ratio })),
    ),
  ]
}

const millions = rows => `${+(rows / 1e6).toFixed(2)}M`

async function tpchGrowth(world) {
  const ratios = []
  for (const share of [1 / 8, 1 / 4, 1 / 2, 1]) {
    const { sealed, plain } = await tpch(world, SCALE * share, 3)
    const total = runs =>
      median(runs.map(({ queries }) => [...queries.values()].reduce((sum, time) => sum + time, 0)))
    ratios.push({ size: `scale ${SCALE * share}`, ratio: total(sealed) / total(plain) })
  }
  return growthRow('TPC-H', ratios)
}

function growthRow(what, ratios) {
  return {
    name: `Spark, ${what}: the ratio at 8 times the data by that at 1`,
    ratio: ratios.at(-1).ratio / ratios[0].ratio,
    wanted: 'flat',
    measured: ratios.map(({ size, ratio }) => `${size}: ${ratio.toFixed(2)}`).join(', '),
    baseline: 'the same over plain files, at each size',
  }
}

/** The engine's benchmark asks of the same kind of people. */
async function people({ folder }, rows) {
  const file = join(folder, `people-${rows}.csv`)
  const database = await (await DuckDBInstance.create()).connect()
  await database.run(`COPY (
    SELECT 'n' || (hash(i) % 1000000)::VARCHAR AS name, 18 + (hash(i + 1) % 43)::INTEGER AS age,
      list_extract(['Developer', 'Engineer', 'Researcher'], 1 + (hash(i + 2) % 3)::INTEGER) AS job
    FROM range(${rows}) t(i)) TO '${file}' (HEADER)`)
  return file
}

/** Runs a job and the same program over the plain data by turns. */
async function inTurns(world, rounds, { name, plain, input, entryPoint }) {
  const { image } = world
  const file = makeJob(world, { image, plain, input, output: 'result', job: name, entryPoint })
  const runs = { sealed: [], plain: [] }
  for (let round = 0; round < rounds; round++) {
    runs.sealed.push(await timed([process.execPath, MAIN, '--home', world.home, 'run', file]))
    runs.plain.push(await timed(bare(world, plain, input, entryPoint)))
  }
  rmSync(plain, { recursive: true })
  rmSync(join(world.folder, 'sealed'), { recursive: true })
  return runs
}

/** The program from the image's files, with the same variables but Spark's settings for plain files. */
function bare({ folder, image }, plain, input, entryPoint) {
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
    ...['--ro-bind', join(folder, 'examples/spark/plain'), '/plain'],
    ...Object.entries(variables).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--', ...program],
  ]
}

/**
 * Runs a command to its end.
 * @returns milliseconds of all of it, to the program's start where it says so, of the program, and
 *   of each query that it prints the time of.
 */
async function timed([command, ...argv]) {
  const begun = performance.now()
  const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise(resolve => child.once('exit', resolve))
  const [steps, queries, said] = [new Map(), new Map(), []]
  const printed = async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const [, query, time] = /^(query \d+): ([\d.]+) s$/.exec(line) ?? []
      if (query !== undefined) queries.set(query, Number(time) * 1000)
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
  return { whole, started, program: (steps.get('program-ended') ?? whole) - started, queries }
}
