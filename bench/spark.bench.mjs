/**
 * Apache Spark in an instance over sealed data, against the same Spark from the same image's files
 * over plain data, in turns: TPC-H's queries over Parquet, a query over CSV, and growth. Packages
 * are fetched into bench/out/store and the connector is built first; that is not timed. SLOW=1 takes
 * the whole scale, more rounds, and growth of TPC-H too. SPARK_SCALE=0.01 only tries that it runs.
 */
import { join } from 'node:path'
import { end, seconds } from './enclave-world.mjs'
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
  tpchRows,
  tpchTables,
} from './spark-runs.mjs'

const ROUNDS = SLOW ? 7 : 3
const ROWS = Math.round(10_000_000 * SCALE)

export async function run() {
  const world = await beginSpark()
  try {
    const image = buildExample(world, 'spark')
    const spark = { image, settings: join(world.folder, 'examples/spark/plain') }
    return [
      ...tpchRows(`Spark, ${TPCH}`, await tpch(world, spark, SCALE)),
      ...(await queryRows(world, spark)),
      ...(SLOW ? [await tpchGrowth(world, spark)] : []),
    ]
  } finally {
    await end(world)
  }
}

/** TPC-H's queries, sealed and plain in turns. */
async function tpch(world, spark, scale, rounds = ROUNDS) {
  // Each job has an output of its own, whose head the key service keeps.
  const name = `tpch-${scale}-${rounds}`
  const plain = tpchTables(world, scale)
  return await inTurns(world, rounds, {
    ...spark,
    name,
    plain,
    input: 'tables',
    entryPoint: 'main',
  })
}

/** SimpleQuery over CSV of one, two, four and eight eighths. */
async function queryRows(world, spark) {
  const sizes = [1 / 8, 1 / 4, 1 / 2, 1].map(share => Math.round(ROWS * share))
  const ratios = []
  for (const rows of sizes) {
    const plain = await people(world, rows)
    const job = { ...spark, name: `people-${rows}`, plain, input: 'people', entryPoint: 'query' }
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

async function tpchGrowth(world, spark) {
  const ratios = []
  for (const share of [1 / 8, 1 / 4, 1 / 2, 1]) {
    const { sealed, plain } = await tpch(world, spark, SCALE * share, 3)
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
