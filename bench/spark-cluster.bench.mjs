/**
 * Apache Spark as a driver and two executors, each a sealed instance, against the same Spark as a
 * driver and two plain executors (Spark's own local cluster) from the same image's files: a query over
 * CSV, and TPC-H's over Parquet; and what CloisterPlugin adds to the start of a session. In turns; the image is that of
 * examples/spark-executors with the benchmark's programs. SPARK_SCALE=0.01 only tries that it runs.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { end, MAIN, makeJob, seconds } from './enclave-world.mjs'
import { median } from './measure.mjs'
import {
  beginSpark,
  buildExample,
  inTurns,
  millions,
  people,
  SCALE,
  SLOW,
  TPCH,
  timed,
  tpchRows,
  tpchTables,
} from './spark-runs.mjs'

const EXAMPLE = 'spark-executors'
const EXECUTORS = 2
const ROUNDS = SLOW ? 7 : 3
const STARTS = SLOW ? 11 : 5
const ROWS = Math.round(10_000_000 * SCALE)
const PLUGIN = 'io.cloister.spark.cluster.CloisterPlugin'

const START = `"""start.py RESULT [PLUGIN]: how long a session takes to start with that plugin, or with none."""
import sys
from time import perf_counter
from pyspark.sql import SparkSession
result, *plugins = sys.argv[1:]
begun = perf_counter()
spark = SparkSession.builder.config("spark.plugins", ",".join(plugins)).getOrCreate()
print(f"start: {perf_counter() - begun:.3f} s", flush=True)
spark.range(1).write.csv(f"{result}/one", "overwrite")
spark.stop()
`

const ENTRIES = `
  others:
    with-plugin: { program: [/usr/bin/python3, /app/start.py, /out/result, ${PLUGIN}] }
    without-plugin: { program: [/usr/bin/python3, /app/start.py, /out/result] }
    tpch: { program: [/usr/bin/python3, /app/tpch.py, /in/tables, /out/result] }
  executor:`

const FILES = ['start.py', 'tpch.py', 'queries.sql']
  .map(name => `\n  - { from: ${name}, to: /app/${name} }`)
  .join('')

export async function run() {
  const world = await beginSpark()
  try {
    putPrograms(world)
    const image = buildExample(world, EXAMPLE)
    const cluster = { image, ...plainCluster(world, image) }
    return [
      ...(await clusterRows(world, cluster)),
      ...(await tpchRowsOf(world, cluster)),
      await pluginRow(world, image),
    ]
  } finally {
    await end(world)
  }
}

/** The benchmark's programs in place of the example's. */
function putPrograms({ folder }) {
  const example = join(folder, 'examples', EXAMPLE)
  const definition = join(example, 'enclave.yaml')
  copyFileSync(join(folder, 'examples/spark-simple-query/query.py'), join(example, 'query.py'))
  for (const name of ['tpch.py', 'queries.sql'])
    copyFileSync(join(folder, 'examples/spark-tpch', name), join(example, name))
  writeFileSync(join(example, 'start.py'), START)
  const text = readFileSync(definition, 'utf8')
    .replace('\n  executor:', ENTRIES)
    .replace('\nfiles:', `\nfiles:${FILES}`)
  writeFileSync(definition, text)
}

/** SimpleQuery, by a driver and two executors. */
async function clusterRows(world, cluster) {
  const plain = await people(world, ROWS)
  const job = { ...cluster, name: 'cluster', plain, input: 'people', entryPoint: 'main' }
  const { sealed, plain: bare } = await inTurns(world, ROUNDS, job)
  const row = (what, which, wanted, more = () => '') => {
    const [inside, outside] = [sealed, bare].map(runs => median(runs.map(run => run[which])))
    return {
      name: `Spark, a driver and ${EXECUTORS} executors, SimpleQuery over ${millions(ROWS)} rows of CSV: ${what}`,
      ratio: inside / outside,
      wanted,
      measured: `${seconds(inside)}${more()}`,
      baseline: `the same from plain files by Spark's local cluster, nothing encrypted, ${seconds(outside)}`,
    }
  }
  const started = () =>
    `, of that ${seconds(median(sealed.map(run => run.started)))} to the driver's start`
  return [
    row("the driver's program", 'program', '≤ 1.15'),
    row('the whole command, three attestations included', 'whole', '≤ 1.20', started),
  ]
}

/** TPC-H's queries, by a driver and two executors. */
async function tpchRowsOf(world, cluster) {
  const plain = tpchTables(world, SCALE)
  const job = { ...cluster, name: 'tpch', plain, input: 'tables', entryPoint: 'tpch' }
  return tpchRows(
    `Spark, a driver and ${EXECUTORS} executors, ${TPCH}`,
    await inTurns(world, ROUNDS, job),
  )
}

/** Settings that make paths sealed, and instances of executors. */
const SEALED =
  /^spark\.(master|plugins|driver\.(host|bindAddress|port)|blockManager\.port|port\.maxRetries|hadoop\.fs\.defaultFS|sql\.sources\.commitProtocolClass)\s.*$/gm

/**
 * How jobs run here with executors; outside by Spark's local cluster, with as many, each with all
 * processors as an instance has.
 */
function plainCluster({ folder }, image) {
  const conf = join(folder, 'examples', EXAMPLE, 'conf')
  const settings = join(folder, 'plain-cluster')
  mkdirSync(settings)
  const master = `spark.master local-cluster[${EXECUTORS},${availableParallelism()},1024]\n`
  const others = readFileSync(join(conf, 'spark-defaults.conf'), 'utf8').replace(SEALED, '')
  writeFileSync(join(settings, 'spark-defaults.conf'), `${master}${others}`)
  copyFileSync(join(conf, 'log4j2.properties'), join(settings, 'log4j2.properties'))
  const { environment } = JSON.parse(readFileSync(join(image, 'manifest.json'), 'utf8'))
  const { SPARK_HOME: home } = environment
  // Its workers write below Spark's own folder, which is the image's.
  const links = ['bin', 'jars'].flatMap(name => [
    '--symlink',
    `${home}/${name}`,
    `/tmp/spark/${name}`,
  ])
  return {
    options: ['--executors', `${EXECUTORS}`],
    settings,
    arrangement: ['--dir', '/tmp/spark', ...links, '--setenv', 'SPARK_HOME', '/tmp/spark'],
  }
}

/** A session's start in one instance, with the plugin and without. */
async function pluginRow(world, image) {
  const plain = join(world.folder, 'nobody.csv')
  writeFileSync(plain, 'name,age,job\n')
  const commandOf = entryPoint => {
    const job = { image, plain, input: 'people', output: 'result', job: entryPoint, entryPoint }
    return [process.execPath, MAIN, '--home', world.home, 'run', makeJob(world, job)]
  }
  const commands = ['with-plugin', 'without-plugin'].map(commandOf)
  const sessions = commands.map(() => [])
  for (let round = 0; round < STARTS; round++) {
    for (const [at, command] of commands.entries())
      sessions[at].push((await timed(command)).session)
  }
  const [own, base] = sessions.map(median)
  return {
    name: "start of Spark's session in an instance, with CloisterPlugin",
    ratio: own / base,
    wanted: '≤ 1500 ms more',
    measured: `${own.toFixed(0)} ms, ${(own - base).toFixed(0)} ms more`,
    baseline: `the same without the plugin, ${base.toFixed(0)} ms`,
  }
}
