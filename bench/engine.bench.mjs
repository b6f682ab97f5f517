/** The people queries over sealed tables, against the same queries over plain files. */
import { execFileSync, spawn } from 'node:child_process'
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PpmlContext, writePeople } from '@cloister/engine'
import { createSealedFile, Dek, fixedPart, newDatasetId } from '@cloister/sealed'
import { DuckDBInstance } from '@duckdb/node-api'
import { inTurns, median, milliseconds } from './measure.mjs'

const ROWS = 10_000_000
const ROUNDS = 5
const MEMORY_MIB = 4096
const THREADS = 2

/** Each answers with one row, so that only reading differs. */
const QUERIES = {
  'count(name)': 'SELECT count(name) FROM people',
  'name, age+1': 'SELECT max(name), sum(age + 1) FROM people',
  filter: "SELECT count(name) FROM people WHERE job = 'Developer' AND age BETWEEN 20 AND 40",
}
const AVERAGE = 'SELECT avg(age) FROM people'

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'cloister-bench-'))
  try {
    const csv = join(folder, 'people.csv')
    await writePeople({ path: csv, rows: ROWS, seed: 1 })
    const parquet = join(folder, 'people.parquet')
    const encrypted = join(folder, 'people-encrypted.parquet')
    await writeParquet(csv, parquet, encrypted)
    const sealedCsv = await seal(csv, `${csv}.sealed`)
    const sealedParquet = await seal(parquet, `${parquet}.sealed`)
    return [
      ...(await csvRows(folder, csv, sealedCsv)),
      ...(await parquetRows(parquet, encrypted, sealedParquet)),
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function csvRows(folder, csv, sealed) {
  const rows = []
  for (const [name, sql] of Object.entries(QUERIES)) {
    const times = await inTurns(ROUNDS, {
      plain: () => plain(csvTable(csv), sql),
      piped: () => piped(folder, csv, sql),
      sealed: () => opened(sealed, 'csv', sql),
    })
    const ratio = times.sealed / times.plain
    const pipe = (times.piped / times.plain).toFixed(2)
    rows.push({
      name: `CSV, 10M people: ${name}`,
      ratio,
      wanted: '≤ 1.25',
      measured: seconds(times.sealed),
      baseline: `DuckDB, plain file, ${seconds(times.plain)}; plain through \`cat > pipe\` ${pipe}`,
    })
  }
  return rows
}

async function parquetRows(parquet, encrypted, sealed) {
  const rows = []
  for (const [name, sql, wanted] of [
    ['filter', QUERIES.filter, '≤ 1.5'],
    ['avg(age)', AVERAGE, '≤ 2.0 (aim)'],
  ]) {
    const first = []
    const second = []
    let segments
    const times = await inTurns(ROUNDS, {
      plain: () => plain(`read_parquet('${parquet}')`, sql),
      encrypted: () => plain(`read_parquet('${encrypted}', ${KEY_CONFIG})`, sql, ADD_KEY),
      sealed: async () => {
        segments = await firstAndSecond(sealed, sql, first, second)
      },
    })
    const ratio = median(first) / times.plain
    const own = (times.encrypted / times.plain).toFixed(2)
    rows.push({
      name: `Parquet, 10M people, first touch: ${name}`,
      ratio,
      wanted,
      measured: seconds(median(first)),
      baseline: `DuckDB, plain file, ${seconds(times.plain)}; Parquet's own encryption in DuckDB ${own}`,
    })
    rows.push({
      name: `Parquet, 10M people, again: ${name}`,
      ratio: median(second) / times.plain,
      wanted: '0 segments opened',
      measured: `${seconds(median(second))}, ${segments.again} segments (first touch ${segments.first})`,
      baseline: 'the same',
    })
  }
  return rows
}

async function database() {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(THREADS),
    memory_limit: `${MEMORY_MIB}MiB`,
  })
  return { instance, connection: await instance.connect() }
}

/** A query over a plain table, in a new database. @returns milliseconds from query to answer */
async function plain(table, sql, before) {
  const { instance, connection } = await database()
  if (before !== undefined) await connection.run(before)
  await connection.run(`CREATE VIEW people AS SELECT * FROM ${table}`)
  const took = await milliseconds(async () => (await connection.run(sql)).getRowsJson())
  connection.closeSync()
  instance.closeSync()
  return took
}

async function piped(folder, csv, sql) {
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const cat = spawn('sh', ['-c', 'cat "$0" > "$1"', csv, pipe], { stdio: 'ignore' })
  try {
    return await plain(csvTable(pipe), sql)
  } finally {
    cat.kill()
    rmSync(pipe)
  }
}

function csvTable(path) {
  return `read_csv('${path}', header=true, delim=',', quote='"', escape='"', auto_detect=false, columns={'name': 'VARCHAR', 'age': 'BIGINT', 'job': 'VARCHAR'})`
}

async function connect() {
  return await PpmlContext.connect({
    memoryMiB: MEMORY_MIB,
    scratchFolder: '/dev/shm',
    threads: THREADS,
  })
}

async function opened(part, format, sql) {
  const context = await connect()
  await context.read({ name: 'people', parts: [part] })[format]()
  const took = await milliseconds(async () => (await context.sql(sql)).rows())
  await context.close()
  return took
}

async function firstAndSecond(part, sql, first, second) {
  const context = await connect()
  await context.read({ name: 'people', parts: [part] }).parquet()
  const query = async () => (await context.sql(sql)).rows()
  first.push(await milliseconds(query))
  const before = context.statistics.segmentsOpened
  second.push(await milliseconds(query))
  const again = context.statistics.segmentsOpened - before
  await context.close()
  return { first: before, again }
}

const ADD_KEY = "PRAGMA add_parquet_key('bench', '01234567890123450123456789012345')"
const KEY_CONFIG = "encryption_config={footer_key: 'bench'}"

async function writeParquet(csv, path, encrypted) {
  const { instance, connection } = await database()
  await connection.run(ADD_KEY)
  await connection.run(`COPY (SELECT * FROM ${csvTable(csv)}) TO '${path}' (FORMAT parquet)`)
  await connection.run("SET force_mbedtls_unsafe = 'true'").catch(() => undefined)
  await connection.run(
    `COPY (SELECT * FROM '${path}') TO '${encrypted}' (FORMAT parquet, ENCRYPTION_CONFIG {footer_key: 'bench'})`,
  )
  connection.closeSync()
  instance.closeSync()
}

async function seal(from, path) {
  const dek = Dek.generate()
  const fixed = fixedPart({ datasetId: newDatasetId(), part: 0, mediaType: 'text/csv' })
  const slot = { kmsId: 'bench', cmkId: 'bench', cmkVersion: 1, wrappedDek: new Uint8Array(60) }
  const writer = await createSealedFile({ path, fixed, dek, slots: [slot] })
  for await (const piece of createReadStream(from, { highWaterMark: 1 << 20 })) {
    await writer.write(piece)
  }
  await writer.close()
  return { path, dek }
}

function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(3)} s`
}
