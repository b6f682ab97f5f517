import { spawnSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasSandbox } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Clone, cloneExamples, lines } from './examples.test.support.ts'

// The examples of one Spark image, whose 618 MiB are fetched once and kept: under SLOW=1 alone.
const SLOW = process.env['SLOW'] === '1'
const TOOLS =
  process.env['CLOISTER_TOOLS'] ??
  fileURLToPath(new URL('../../../../node_modules/.cache/cloister-tools', import.meta.url))

const has = (command: string) => spawnSync(command, ['--version']).error === undefined
const missing = !has('mvn') || !has('javac')
const reason = missing ? ' (skipped: Maven or a JDK is not installed here)' : ''
const canRun = !missing && (await hasSandbox())

let clone: Clone

beforeAll(async () => {
  clone = await cloneExamples({ store: join(TOOLS, 'store') })
})

afterAll(() => clone.remove())

/** Rows of the CSV or JSON files in a folder of an example's result. */
async function rowsOf(...names: readonly string[]): Promise<readonly string[]> {
  const folder = clone.made(...names)
  const files = (await readdir(folder)).sort()
  const texts = await Promise.all(files.map(file => readFile(join(folder, file), 'utf8')))
  return texts.flatMap(text => lines(text).slice(text.startsWith('{') ? 0 : 1))
}

/** All that lies sealed, and how many files of it. */
async function sealedBy(name: string): Promise<{ bytes: Buffer; files: number }> {
  const below = await readdir(clone.made(name, 'sealed'), { recursive: true, withFileTypes: true })
  const files = below.filter(entry => entry.isFile())
  const bytes = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name))),
  )
  return { bytes: Buffer.concat(bytes), files: files.length }
}

const run = (name: string, ...argv: readonly string[]) =>
  clone.run(name, { arguments: argv, image: 'spark' })

describe.runIf(canRun || missing)(`Spark's examples${reason}`, { timeout: 1_200_000 }, () => {
  it.runIf(SLOW && canRun)(
    'spark-gbt grows the trees that it grows outside, good ones',
    async () => {
      const name = 'spark-gbt'
      const said = await run(name)
      expect(said).toContain('the sealed model, loaded by another job, predicts the same')
      const loans = lines(await readFile(clone.made(name, 'loans.csv'), 'utf8')).slice(1)
      const wanted = new Set(loans.map(line => line.split(',').map(Number).join()))
      const predictions = (await rowsOf(name, 'result', 'predictions')).map(line => {
        const cells = line.split(',').map(Number)
        return { loan: cells.slice(0, 6).join(), late: cells[5], predicted: cells[6] }
      })
      expect(predictions.length).toBeGreaterThan(loans.length / 8)
      expect(predictions.filter(({ loan }) => !wanted.has(loan))).toEqual([])
      const right = predictions.filter(({ late, predicted }) => late === predicted)
      expect(right.length / predictions.length).toBeGreaterThan(0.8)
      const { bytes, files } = await sealedBy(name)
      expect(files).toBeGreaterThan(10)
      for (const word of ['GBTClassifier', 'areaUnderROC', 'income', loans[0] ?? '']) {
        expect(bytes.includes(word), word).toBe(false)
      }
    },
  )

  it.runIf(SLOW && canRun)('spark-tpch answers 22 queries as outside, and as DuckDB', async () => {
    const said = await run('spark-tpch')
    expect(said).toContain('DuckDB finds the same by 22 queries')
    expect(await readdir(clone.made('spark-tpch', 'result'))).toHaveLength(22)
    const found = await Promise.all(
      [2, 9, 16, 18, 19, 20, 21].map(query =>
        rowsOf('spark-tpch', 'result', `q${`${query}`.padStart(2, '0')}`),
      ),
    )
    for (const rows of found) expect(rows.length).toBeGreaterThan(0)
    const { bytes } = await sealedBy('spark-tpch')
    for (const word of ['Supplier#', 'l_extendedprice', 'Brand#'])
      expect(bytes.includes(word)).toBe(false)
  })

  it.runIf(SLOW && canRun)(
    'spark-dataframe finds by every call what it finds outside',
    async () => {
      const said = await run('spark-dataframe')
      const names = [...said.matchAll(/^INFO (.*) API finished$/gm)].map(([, api]) => api)
      expect(names).toEqual(['DataFrameWriter'])
      const walk = (await rowsOf('spark-dataframe', 'result', 'walk')).map(line => JSON.parse(line))
      expect(walk.length).toBeGreaterThan(80)
      expect(walk.find(({ api }) => api === 'DataFrame.count')).toEqual({
        api: 'DataFrame.count',
        outcome: '500',
      })
    },
  )

  it.runIf(SLOW && canRun)('spark-sklearn fits the line that the data was made of', async () => {
    await run('spark-sklearn')
    const folder = clone.made('spark-sklearn', 'result', 'measures')
    const [file = ''] = await readdir(folder)
    const measures = new Map(
      lines(await readFile(join(folder, file), 'utf8')).map(line => {
        const [measure = '', value] = line.split(',')
        return [measure, Number(value)]
      }),
    )
    expect(measures.get('intercept')).toBeCloseTo(2.36, 0)
    expect(measures.get('coefficient')).toBeCloseTo(1.58, 1)
    const predictions = await rowsOf('spark-sklearn', 'result', 'predictions')
    expect(predictions).toHaveLength(2000)
    for (const line of predictions) {
      const [dose = 0, , predicted] = line.split(',').map(Number)
      const wanted = (measures.get('intercept') ?? 0) + (measures.get('coefficient') ?? 0) * dose
      expect(predicted).toBeCloseTo(wanted, 9)
    }
  })
})
