import { openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { SealedFormatError } from '@cloister/sealed'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EngineError } from '../errors.ts'
import { PpmlContext } from './context.ts'
import { MemorySink, TestFolder } from './sealing.test.support.ts'

let folder: TestFolder
let context: PpmlContext

beforeEach(async () => {
  folder = new TestFolder()
  context = await PpmlContext.connect({ memoryMiB: 512, scratchFolder: folder.path })
})

afterEach(async () => {
  await context.close()
  folder.remove()
})

const PEOPLE = 'name,age,job\nada,36,Developer\ngrace,45,Engineer\nlin,29,Developer\n'
const many = (rows: number) =>
  `name,age,job\n${Array.from({ length: rows }, (_, i) => `n${i},${18 + (i % 43)},${i % 3 === 0 ? 'Developer' : 'Engineer'}`).join('\n')}\n`

async function readPeople(text = PEOPLE) {
  await context.read({ name: 'people', parts: [await folder.seal(text)] }).csv()
}

async function rowsOf(sql: string) {
  return await (await context.sql(sql)).rows()
}

async function failureOf(work: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await work
  } catch (error) {
    return error as Error & { code?: string }
  }
  throw new Error('it did not fail')
}

describe('sealed CSV', () => {
  it('answers queries', async () => {
    await readPeople()
    expect(await rowsOf('SELECT count(name) FROM people')).toEqual([[3n]])
    expect(await rowsOf('SELECT name, age + 1 FROM people ORDER BY name')).toEqual([
      ['ada', 37n],
      ['grace', 46n],
      ['lin', 30n],
    ])
    expect((await context.sql('SELECT * FROM people')).columns).toEqual([
      { name: 'name', type: 'VARCHAR' },
      { name: 'age', type: 'BIGINT' },
      { name: 'job', type: 'VARCHAR' },
    ])
  })

  it('reads a table twice in one query as right as once', async () => {
    await readPeople(many(50_000))
    const twice =
      'SELECT count(*) FROM people a JOIN people b ON a.name = b.name WHERE b.age BETWEEN 20 AND 40'
    const once = 'SELECT count(*) FROM people WHERE age BETWEEN 20 AND 40'
    expect(await rowsOf(twice)).toEqual(await rowsOf(once))
    expect(context.statistics.tablesMaterialised).toBe(1)
  })

  it('reads under a recursive query, a union, and a subquery', async () => {
    await readPeople(many(1000))
    expect(
      await rowsOf(
        'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 4 AND (SELECT count(*) FROM people) = 1000) SELECT count(*) FROM r',
      ),
    ).toEqual([[4n]])
    expect(
      await rowsOf(
        'SELECT count(*) FROM (SELECT name FROM people UNION ALL SELECT job FROM people)',
      ),
    ).toEqual([[2000n]])
    expect(
      await rowsOf('SELECT count(*) FROM people WHERE age > (SELECT avg(age) FROM people)'),
    ).toEqual(
      await rowsOf('SELECT count(*) FILTER (age > a) FROM people, (SELECT avg(age) a FROM people)'),
    )
  })

  it('joins two tables, each through its own pipe', async () => {
    await readPeople()
    await context
      .read({ name: 'pay', parts: [await folder.seal('job,pay\nDeveloper,10\nEngineer,20\n')] })
      .csv()
    expect(await rowsOf('SELECT sum(pay) FROM people JOIN pay USING (job)')).toEqual([[40n]])
    expect(context.statistics.tablesMaterialised).toBe(0)
  })

  it('reads many parts', async () => {
    const parts = await Promise.all(
      Array.from({ length: 12 }, (_, i) => folder.seal(`name,age\np${i},${i}\n`)),
    )
    await context.read({ name: 'people', parts }).csv()
    expect(await rowsOf('SELECT count(*), sum(age) FROM people')).toEqual([[12n, 66n]])
  })

  it('lets go of what a query does not read to the end', async () => {
    await readPeople(many(200_000))
    expect((await rowsOf('SELECT name FROM people LIMIT 1')).length).toBe(1)
    expect(await rowsOf('SELECT 1 FROM people WHERE false')).toEqual([])
    expect(await rowsOf('SELECT 42')).toEqual([[42]])
    expect(await rowsOf('SELECT count(*) FROM people')).toEqual([[200_000n]])
  })

  it('gives the sealed error, and no result, for a changed segment', async () => {
    const part = await folder.seal(many(200_000))
    flipByte(part.path, 2_500_000)
    await context.read({ name: 'people', parts: [part] }).csv()
    for (const sql of [
      'SELECT count(*) FROM people',
      'SELECT name FROM people',
      'SELECT count(*) FROM people a JOIN people b ON a.name = b.name',
    ]) {
      const failure = await failureOf(rowsOf(sql))
      expect(failure).toBeInstanceOf(SealedFormatError)
      expect(failure.code).toBe('TAG')
    }
    const sink = new MemorySink()
    const written = await failureOf(context.write('SELECT * FROM people').csv(sink))
    expect(written.code).toBe('TAG')
  })

  it('says where CSV is malformed, and shows no value', async () => {
    await readPeople(`${many(30_000)}secretname,not-a-number,Developer\n`)
    const failure = await failureOf(rowsOf('SELECT sum(age) FROM people'))
    expect(failure).toBeInstanceOf(EngineError)
    expect(failure.code).toBe('DATA')
    expect(failure.message).toContain('line 30002')
    expect(failure.message).toContain('age')
    expect(failure.message).not.toContain('not-a-number')
    expect(failure.message).not.toContain('secretname')
    expect(failure.message).not.toContain('§')
  })

  it('refuses columns that the file has not', async () => {
    const part = await folder.seal(PEOPLE)
    const failure = await failureOf(
      context.read({ name: 'people', parts: [part] }).csv({ columns: { name: 'VARCHAR' } }),
    )
    expect(failure.code).toBe('COLUMN')
  })

  it('names an absent column', async () => {
    await readPeople()
    const failure = await failureOf(rowsOf('SELECT wage FROM people'))
    expect(failure.code).toBe('SQL')
    expect(failure.message).toContain('wage')
  })
})

describe('sealed JSON and Parquet', () => {
  it('answers queries over JSON lines', async () => {
    const part = await folder.seal('{"name":"ada","age":36}\n{"name":"lin","age":29}\n')
    await context.read({ name: 'people', parts: [part] }).json()
    expect(await rowsOf('SELECT sum(age) FROM people')).toEqual([[65n]])
    expect(await rowsOf('SELECT count(*) FROM people a JOIN people b ON a.name = b.name')).toEqual([
      [2n],
    ])
  })

  it('writes Parquet that it reads again', async () => {
    await readPeople()
    const sink = new MemorySink()
    expect(await context.write('SELECT name, age FROM people').parquet(sink)).toBe(3)
    const part = await folder.seal(Buffer.concat(sink.chunks))
    await context.read({ name: 'again', parts: [part] }).parquet()
    expect(await rowsOf('SELECT sum(age) FROM again')).toEqual([[110n]])
  })
})

describe('writing', () => {
  it('writes CSV and JSON and counts rows', async () => {
    await readPeople()
    const csv = new MemorySink()
    const sql = "SELECT * FROM people WHERE job = 'Developer' AND age BETWEEN 20 AND 40"
    expect(await context.write(sql).csv(csv)).toBe(2)
    expect(csv.text).toBe('name,age,job\nada,36,Developer\nlin,29,Developer\n')
    const json = new MemorySink()
    expect(await context.write('SELECT name FROM people LIMIT 1').json(json)).toBe(1)
    expect(json.text).toBe('{"name":"ada"}\n')
  })

  it('fails with what the sink failed with', async () => {
    await readPeople(many(100_000))
    const full = new Error('no space')
    const failure = await failureOf(
      context.write('SELECT * FROM people').csv({ write: () => Promise.reject(full) }),
    )
    expect(failure).toBe(full)
    expect(await rowsOf('SELECT count(*) FROM people')).toEqual([[100_000n]])
  })
})

describe('what a query may not do', () => {
  const refused = [
    ["SELECT * FROM read_csv('/etc/passwd')", 'REFUSED'],
    ["SELECT * FROM read_text('/proc/self/environ')", 'REFUSED'],
    ["SELECT * FROM glob('/etc/*')", 'REFUSED'],
    ["COPY (SELECT 1) TO '/tmp/out.csv'", 'REFUSED'],
    ["ATTACH '/tmp/other.db'", 'NOT_SELECT'],
    ['INSTALL httpfs', 'NOT_SELECT'],
    ['LOAD httpfs', 'NOT_SELECT'],
    ['SET threads = 1', 'NOT_SELECT'],
    ['PRAGMA threads = 1', 'NOT_SELECT'],
    ['CREATE TABLE t AS SELECT 1', 'NOT_SELECT'],
    ['DROP VIEW people', 'NOT_SELECT'],
    ['EXPLAIN SELECT 1', 'NOT_SELECT'],
    ['SELECT 1; SELECT 2', 'NOT_SELECT'],
    ['', 'SQL'],
    ['SELEC 1', 'SQL'],
  ] as const

  it.each(refused)('%s', async (sql, code) => {
    await readPeople()
    const failure = await failureOf(rowsOf(sql))
    expect(failure).toBeInstanceOf(EngineError)
    expect(failure.code).toBe(code)
    expect(await rowsOf('SELECT count(*) FROM people')).toEqual([[3n]])
  })

  it('leaves nothing behind', async () => {
    await readPeople()
    await rowsOf('SELECT count(*) FROM people')
    await context.close()
    const left = (await readdir(folder.path)).filter(name => name.startsWith('cloister-'))
    expect(left).toEqual([])
    expect((await failureOf(rowsOf('SELECT 1'))).code).toBe('CLOSED')
  })
})

function flipByte(path: string, position: number): void {
  const descriptor = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(descriptor, byte, 0, 1, position)
  writeSync(descriptor, Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, position)
  writeFileSync(join(folder.path, 'flipped'), '')
}
