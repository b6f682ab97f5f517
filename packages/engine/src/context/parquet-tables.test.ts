import { openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PpmlContext } from './context.ts'
import { TestFolder } from './sealing.test.support.ts'

const ROWS = 20_000
const GROUP = 2048
const SEGMENT = 1024

/** Sorted by id and day, so that row groups differ; names and jobs are spread over all of them. */
const TABLE = `SELECT i AS id, i % 43 + 18 AS age, 'n' || (i * 7919 % 1000) AS name,
  CASE i % 3 WHEN 0 THEN 'Developer' WHEN 1 THEN 'it''s AND t0§0§=1' ELSE NULL END AS job,
  DATE '2020-01-01' + CAST(i / 100 AS INT) AS day, TIMESTAMP '2020-01-01' + INTERVAL (i) MINUTE AS moment,
  (i * 0.5)::DOUBLE AS pay, {'a': i, 'b': 'x' || i} AS nested, [i, i + 1] AS list
  FROM range(${ROWS}) t(i)`

let folder: TestFolder
let context: PpmlContext
let plain: Awaited<ReturnType<typeof openPlain>>

beforeEach(async () => {
  folder = new TestFolder()
  context = await PpmlContext.connect({ memoryMiB: 512, scratchFolder: folder.path })
  plain = await openPlain()
})

afterEach(async () => {
  plain.close()
  await context.close()
  folder.remove()
})

async function openPlain() {
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' })
  const connection = await instance.connect()
  return {
    rows: async (sql: string) => (await connection.run(sql)).getRows(),
    close: () => {
      connection.closeSync()
      instance.closeSync()
    },
  }
}

/** Writes Parquet, registers it plain and sealed under one name. */
async function table(name: string, select = TABLE) {
  const path = join(folder.path, `${name}.plain.parquet`)
  await plain.rows(`COPY (${select}) TO '${path}' (FORMAT parquet, ROW_GROUP_SIZE ${GROUP})`)
  await plain.rows(`CREATE VIEW ${name} AS SELECT * FROM read_parquet('${path}')`)
  const part = await folder.seal(readFileSync(path), SEGMENT)
  await context.read({ name, parts: [part] }).parquet()
  return { path, part, segments: Math.ceil(readFileSync(path).length / (SEGMENT - 16)) }
}

async function rowsOf(sql: string) {
  return await (await context.sql(sql)).rows()
}

async function sorted(rows: Promise<readonly unknown[]>): Promise<readonly string[]> {
  const text = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)
  return (await rows).map(row => JSON.stringify(row, text)).sort()
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'no failure',
    error => error.code,
  )
}

function flip(path: string, position: number): void {
  const descriptor = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(descriptor, byte, 0, 1, position)
  writeSync(descriptor, Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, position)
}

describe('what a query opens', () => {
  it('is the columns of its plan, once', async () => {
    const { segments } = await table('t')
    const atFirst = context.statistics.segmentsOpened
    expect(atFirst).toBeLessThan(segments / 4)
    expect(await rowsOf('SELECT count(*) FROM t')).toEqual([[BigInt(ROWS)]])
    expect(context.statistics.segmentsOpened).toBe(atFirst)

    await rowsOf('SELECT avg(age) FROM t')
    const afterAge = context.statistics.segmentsOpened
    expect(afterAge).toBeGreaterThan(atFirst)
    expect(afterAge).toBeLessThan(segments / 2)
    await rowsOf('SELECT avg(age), max(age) FROM t WHERE age > 30')
    expect(context.statistics.segmentsOpened).toBe(afterAge)

    await rowsOf('SELECT * FROM t')
    expect(context.statistics.segmentsOpened).toBeGreaterThanOrEqual(segments - 1)
  })

  it.each([
    ['id BETWEEN 5000 AND 5100', 101],
    ["day = DATE '2020-02-01'", 99],
    ["moment < TIMESTAMP '2020-01-01 01:00:00'", 60],
    ['id = 19999', 1],
  ])('is the row groups that %s leaves', async (condition, rows) => {
    const { segments } = await table('t')
    const before = context.statistics.segmentsOpened
    const answer = await rowsOf(`SELECT count(name), sum(pay) FROM t WHERE ${condition}`)
    expect(answer[0]?.[0]).toBe(BigInt(rows))
    expect(context.statistics.segmentsOpened - before).toBeLessThan(segments / 8)
  })

  it('is counted before it is opened', async () => {
    const small = await PpmlContext.connect({ memoryMiB: 66, scratchFolder: folder.path })
    try {
      const select = `SELECT i, md5(i::VARCHAR) AS hash FROM range(200000) t(i)`
      const { part } = await table('big', select)
      await small.read({ name: 'big', parts: [part] }).parquet()
      const before = small.statistics.segmentsOpened
      expect(await codeOf((await small.sql('SELECT max(hash) FROM big')).rows())).toBe(
        'MEMORY_LIMIT',
      )
      expect(small.statistics.segmentsOpened).toBe(before)
    } finally {
      await small.close()
    }
  })
})

describe('answers', () => {
  const column = fc.constantFrom(
    'id',
    'age',
    'name',
    'job',
    'day',
    'moment',
    'pay',
    'nested.a',
    'list',
  )
  const constant = fc.oneof(
    fc
      .constantFrom('id', 'age')
      .chain(name =>
        fc.tuple(
          fc.constant(name),
          fc.constantFrom('=', '<', '<=', '>', '>=', '<>'),
          fc.oneof(fc.integer({ min: -5, max: ROWS + 5 }), fc.integer({ min: 15, max: 65 })),
        ),
      ),
    fc.tuple(
      fc.constantFrom('name', 'job'),
      fc.constantFrom('=', '<', '>=', '<>', 'LIKE'),
      fc.constantFrom("'Developer'", "'n5'", "'it''s AND t0§0§=1'", "'D%'", "''", "'zzzzzzzzzz'"),
    ),
    fc.tuple(
      fc.constantFrom('day', 'moment'),
      fc.constantFrom('=', '<', '>='),
      fc.constantFrom("'2020-01-05'", "'2020-03-01'", "'1999-12-31'", "'2020-07-01'"),
    ),
    fc.tuple(
      fc.constantFrom('pay', 'nested.a'),
      fc.constantFrom('=', '<', '>'),
      fc.integer({ min: -5, max: ROWS }),
    ),
  )
  const comparison = constant.map(([name, operator, value]) => `${name} ${operator} ${value}`)
  const condition = fc.oneof(
    { weight: 3, arbitrary: comparison },
    comparison.map(text => `NOT (${text})`),
    column.map(name => `${name} IS NULL`),
    column.map(name => `${name} IS NOT NULL`),
    fc
      .array(fc.integer({ min: 0, max: ROWS }), { minLength: 1, maxLength: 4 })
      .map(values => `id IN (${values.join(', ')})`),
    fc.constantFrom(
      'age > (SELECT avg(age) FROM t)',
      'id IN (SELECT id FROM t WHERE age = 20)',
      'EXISTS (SELECT 1 FROM t u WHERE u.id = t.id + 1 AND u.age = 30)',
    ),
  )
  const where = fc
    .array(fc.tuple(condition, fc.constantFrom('AND', 'OR')), { maxLength: 4 })
    .map(parts =>
      parts.length === 0
        ? ''
        : `WHERE ${parts.map(([text, glue], i) => (i === 0 ? text : `${glue} ${text}`)).join(' ')}`,
    )
  const query = fc.oneof(
    fc
      .tuple(fc.array(column, { minLength: 1, maxLength: 3 }), where)
      .map(([columns, text]) => `SELECT ${columns.join(', ')} FROM t ${text}`),
    fc.tuple(column, where).map(([name, text]) => `SELECT count(${name}), count(*) FROM t ${text}`),
    where.map(text => `SELECT min(id), max(day), sum(pay), max(job) FROM t ${text}`),
    where.map(text => `SELECT age, count(*) FROM t ${text} GROUP BY age HAVING count(*) > 10`),
    where.map(text => `SELECT DISTINCT job FROM t ${text}`),
    fc
      .tuple(where, fc.constantFrom('ASC', 'DESC'))
      .map(([text, way]) => `SELECT id, name FROM t ${text} ORDER BY id ${way} LIMIT 5`),
    where.map(
      text =>
        `SELECT a.name, b.job FROM (SELECT * FROM t ${text}) a JOIN t b ON a.id = b.id + 10000`,
    ),
    where.map(
      text => `WITH w AS MATERIALIZED (SELECT * FROM t ${text}) SELECT count(*), max(u.age)
      FROM w u JOIN w v ON u.id = v.id`,
    ),
    where.map(text => `SELECT id, row_number() OVER (PARTITION BY age ORDER BY id) FROM t ${text}`),
    where.map(text => `SELECT id FROM t ${text} UNION ALL SELECT age FROM t EXCEPT SELECT 30`),
  )

  it('are those of the plain file', { timeout: 900_000 }, async () => {
    await table('t')
    const runs = process.env['SLOW'] === '1' ? 3000 : 100
    await fc.assert(
      fc.asyncProperty(query, async sql => {
        // A context of its own for each query: nothing that another opened may help.
        const fresh = await PpmlContext.connect({ memoryMiB: 512, scratchFolder: folder.path })
        try {
          const part = await folderPart()
          await fresh.read({ name: 't', parts: [part] }).parquet()
          expect(await sorted((await fresh.sql(sql)).rows())).toEqual(await sorted(plain.rows(sql)))
          expect(fresh.statistics.plansMissed).toBe(0)
        } finally {
          await fresh.close()
        }
      }),
      { numRuns: runs },
    )
  })

  let kept: Awaited<ReturnType<TestFolder['seal']>> | undefined
  async function folderPart() {
    kept ??= await folder.seal(readFileSync(join(folder.path, 't.plain.parquet')), SEGMENT)
    return kept
  }
})

describe('parts', () => {
  it('are one table', async () => {
    const { part } = await table('t')
    await context.read({ name: 'twice', parts: [part, part] }).parquet()
    expect(await rowsOf('SELECT count(name), sum(age) FROM twice WHERE id < 100')).toEqual(
      (await plain.rows('SELECT count(name) * 2, sum(age) * 2 FROM t WHERE id < 100')) as never,
    )
    const other = await table('other', 'SELECT 1 AS id')
    const mixed = { name: 'mixed', parts: [part, other.part] }
    expect(await codeOf(context.read(mixed).parquet())).toBe('COLUMN')
    expect(await codeOf(rowsOf('SELECT * FROM mixed'))).toBe('SQL')
  })

  it('may have columns whose names differ in case alone', async () => {
    await table('t', 'SELECT 1 AS "a b", 2 AS "x""y", 3 AS "t0§0§"')
    expect(await rowsOf('SELECT "a b", "x""y", "t0§0§" FROM t')).toEqual([[1, 2, 3]])
  })
})

describe('altered data', () => {
  it('is refused where it is read, and stays unread elsewhere', async () => {
    const { part } = await table('t')
    // Past the header: the first chunk of the first column.
    flip(part.path, 4096 + 3000)
    expect(await rowsOf('SELECT max(pay) FROM t')).toEqual([[(ROWS - 1) * 0.5]])
    expect(await codeOf(rowsOf('SELECT sum(id) FROM t'))).toBe('TAG')
    expect(await codeOf(rowsOf('SELECT sum(id) FROM t'))).toBe('TAG')
    expect(await rowsOf('SELECT count(*) FROM t')).toEqual([[BigInt(ROWS)]])
  })

  it('is refused in the footer at once', async () => {
    const { path } = await table('t')
    const part = await folder.seal(readFileSync(path), SEGMENT)
    flip(part.path, readFileSync(part.path).length - 2000)
    expect(await codeOf(context.read({ name: 'u', parts: [part] }).parquet())).toBe('TAG')
  })

  it('that is no Parquet is refused with a code', { timeout: 60_000 }, async () => {
    const { path } = await table('t')
    const good = readFileSync(path)
    const footer = good.length - 8 - good.readUInt32LE(good.length - 8)
    let number = 0
    const judged = async (bytes: Uint8Array) => {
      const part = await folder.seal(bytes, SEGMENT)
      const name = `m${number++}`
      const read = await codeOf(context.read({ name, parts: [part] }).parquet())
      if (read !== 'no failure') return read
      return await codeOf(rowsOf(`SELECT * FROM ${name}`))
    }
    const known = /^(PARQUET|DATA|INPUT|COLUMN|SQL|MEMORY_LIMIT|no failure)$/
    for (const bytes of ['', 'PAR1', 'PAR1PAR1PAR1', 'x'.repeat(5000)]) {
      expect(await judged(Buffer.from(bytes))).toBe('PARQUET')
    }
    const altered = fc.tuple(
      fc.integer({ min: footer, max: good.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
    )
    await fc.assert(
      fc.asyncProperty(altered, async ([at, mask]) => {
        const bytes = Buffer.from(good)
        bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at)
        expect(await judged(bytes)).toMatch(known)
      }),
      { numRuns: 40 },
    )
  })
})
