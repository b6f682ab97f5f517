import { appendFile, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasSandbox } from '@cloister/enclave'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../output/exit-codes.ts'
import { type Clone, cloneExamples, counted, lines } from './examples.test.support.ts'

// Each example's own script, as a person runs it from a fresh clone: what it makes is compared with
// what the same program makes outside, and with what is computed here in another way. Two of
// them go without saying; the others download some hundred MiB.
const SLOW = process.env['SLOW'] === '1'

let clone: Clone
const canRun = await hasSandbox()

beforeAll(async () => {
  clone = await cloneExamples()
})

afterAll(() => clone.remove())

const made = (...names: readonly string[]) => clone.made(...names)
const text = (...names: readonly string[]) => readFile(made(...names), 'utf8')
const run = (name: string) => clone.run(name)
const cloister = (name: string, ...argv: readonly string[]) => clone.cloister(name, ...argv)

/** What an example leaves: the result as opened, that of outside, and every byte that is sealed. */
async function left(name: string, output: string) {
  const files = (await readdir(made(name, output))).sort()
  const below = await readdir(made(name, 'sealed'), { recursive: true, withFileTypes: true })
  const sealed = below.filter(entry => entry.isFile())
  expect((await readdir(made(name, 'outside'))).sort()).toEqual(files)
  for (const file of files) {
    expect(await text(name, output, file)).toBe(await text(name, 'outside', file))
  }
  const bytes = await Promise.all(
    sealed.map(({ parentPath, name }) => readFile(join(parentPath, name))),
  )
  return { files, sealed: Buffer.concat(bytes) }
}

describe.runIf(canRun)('an example, sealed in and sealed out', { timeout: 600_000 }, () => {
  it('shell-pipeline reports a log as the script does outside; a changed script is no longer its image', async () => {
    await run('shell-pipeline')
    const log = await text('shell-pipeline', 'access.log')
    const { files, sealed } = await left('shell-pipeline', 'report')
    expect(files).toEqual(['report.txt'])
    const report = await text('shell-pipeline', 'report', 'report.txt')
    for (const [status, count] of counted(lines(log).map(line => line.split(' ')[4] ?? ''))) {
      expect(report).toMatch(new RegExp(`^ *${count} ${status}$`, 'm'))
    }
    expect(sealed.length).toBeGreaterThan(log.length)
    expect(sealed.includes(log.slice(0, 40))).toBe(false)
    expect(sealed.includes(report.slice(0, 40))).toBe(false)

    await appendFile(made('shell-pipeline', 'image', 'root', 'app', 'report.sh'), '# more\n')
    const image = made('shell-pipeline', 'image')
    const changed = await cloister('shell-pipeline', 'enclave', 'inspect', image)
    expect(changed.code, changed.said).toBe(EXIT.notAuthentic)
    expect(changed.said).toContain('app/report.sh')
  })

  it('node-report asks DuckDB as the program does outside', async () => {
    await run('node-report')
    const results = lines(await text('node-report', 'results.csv')).slice(1)
    const { files, sealed } = await left('node-report', 'report')
    expect(files).toEqual(['report.json', 'report.md'])
    const report = JSON.parse(await text('node-report', 'report', 'report.json'))
    const byTest = counted(results.map(line => line.split(',')[3] ?? ''))
    const seen = report['By test'].map((row: Record<string, unknown>) => [
      row['test'],
      Number(row['results']),
    ])
    expect(seen).toEqual([...byTest].sort(([a], [b]) => (a < b ? -1 : 1)))
    expect(sealed.includes(results[0] ?? '')).toBe(false)
  })

  it.runIf(SLOW)('sklearn-regression fits the line that the script fits outside', async () => {
    await run('sklearn-regression')
    const rows = lines(await text('sklearn-regression', 'dose.csv'))
      .slice(1)
      .map(line => line.split(',').map(Number) as [number, number])
    const { sealed } = await left('sklearn-regression', 'model')
    const printed = await text('sklearn-regression', 'model', 'regression.txt')
    const seen = lines(printed).map(line => line.split(': ') as [string, string])
    const wanted = leastSquares(rows)
    expect(seen.map(([name]) => name)).toEqual(Object.keys(wanted))
    for (const [name, value] of seen) expect(Number(value), name).toBeCloseTo(wanted[name] ?? 0, 9)
    expect(sealed.includes('intercept')).toBe(false)
  })

  it.runIf(SLOW)('pandas-model seals the model, and the line is that of the script', async () => {
    await clone.run('pandas-model', { says: 'the model, its predictions and the line' })
    const rows = lines(await text('pandas-model', 'dose.csv'))
      .slice(1)
      .map(line => line.split(',').map(Number) as [number, number])
    const wanted = leastSquares(rows)
    const said = lines(await text('pandas-model', 'result', 'model.txt'))
    const seen = said.map(line => line.split(': ') as [string, string])
    expect(seen.map(([name]) => name)).toEqual(['intercept', 'coefficient', 'R2 score'])
    for (const [name, value] of seen) expect(Number(value), name).toBeCloseTo(wanted[name] ?? 0, 9)
    const files = await readdir(made('pandas-model', 'result'))
    expect(files.sort()).toEqual(['model.joblib', 'model.txt', 'predicted.parquet'])
  })

  it.runIf(SLOW)('java-wordcount counts words as the program does outside', async () => {
    await run('java-wordcount')
    const letters = await readdir(made('java-wordcount', 'letters'))
    const texts = await Promise.all(letters.map(name => text('java-wordcount', 'letters', name)))
    const words =
      texts
        .join(' ')
        .toLowerCase()
        .match(/\p{L}+/gu) ?? []
    const { sealed } = await left('java-wordcount', 'words')
    const seen = lines(await text('java-wordcount', 'words', 'words.csv')).slice(1)
    const pairs = seen.map(line => line.trim().split(','))
    expect(new Map(pairs.map(([word = '', count]) => [word, Number(count)]))).toEqual(
      counted(words),
    )
    expect(sealed.includes('Mr Müller')).toBe(false)
  })

  it.runIf(SLOW).each(['spark-simple-query', 'spark-sql'])(
    '%s finds what Spark finds outside',
    async name => {
      await run(name)
      const people = lines(await text(name, 'people.csv')).slice(1)
      const wanted = people.filter(line => {
        const [, age, job] = line.split(',')
        return job === 'Developer' && Number(age) >= 20 && Number(age) <= 40
      })
      const written = async (folder: string) => {
        const files = await readdir(made(name, 'result', folder))
        const parts = files.filter(file => file.startsWith('part-'))
        return await Promise.all(parts.map(file => text(name, 'result', folder, file)))
      }
      const developers = await written('developers')
      expect(developers.flatMap(csv => lines(csv).slice(1)).sort()).toEqual(wanted.sort())
      const jobs = (await written('jobs')).flatMap(json =>
        lines(json).map(line => JSON.parse(line)),
      )
      expect(new Map(jobs.map(({ job, count }) => [job, count]))).toEqual(
        counted(people.map(line => line.split(',')[2] ?? '')),
      )
      const sealed = await readdir(made(name, 'sealed'), { recursive: true, withFileTypes: true })
      const files = sealed.filter(entry => entry.isFile())
      const bytes = await Promise.all(
        files.map(({ parentPath, name }) => readFile(join(parentPath, name))),
      )
      expect(files.length).toBeGreaterThan(5)
      expect(Buffer.concat(bytes).includes('Developer')).toBe(false)
    },
  )

  it.runIf(SLOW)('spark-executors finds with executors what one instance finds', async () => {
    const name = 'spark-executors'
    const said = await clone.run(name, { says: '2 executors make what one instance makes' })
    for (const executor of ['executor-1', 'executor-2']) {
      expect(said).toContain(`${executor}: attested`)
      expect(said).toContain(`${executor}: program-started`)
    }
    expect(said).not.toContain('executor-3')
    const people = lines(await text(name, 'people.csv')).slice(1)
    const same = people.map(line => line.split(',').slice(1).join(',').toUpperCase())
    const wanted = [...counted(same)].flatMap(([group, count]) => {
      const names = people.filter(line => line.toUpperCase().endsWith(`,${group}`))
      const different = new Set(names).size
      return count > 1 && different === count ? [`${group},${(count * (count - 1)) / 2}`] : []
    })
    const files = await readdir(made(name, 'result', 'pairs'))
    const pairs = await Promise.all(files.map(file => text(name, 'result', 'pairs', file)))
    expect(pairs.flatMap(lines).sort()).toEqual(expect.arrayContaining(wanted))
    expect(wanted.length).toBeGreaterThan(100)
  })

  it.runIf(SLOW)('spark-two-parties gives each its result, and neither the other’s', async () => {
    const name = 'spark-two-parties'
    const said = await run(name)
    // One party's policies alone, and one party at the other's result.
    expect(said).toContain('[RELEASE_DENIED]')
    expect(said).toContain('[NOT_OWNER]')
    const tables = [await text(name, 'amy.csv'), await text(name, 'bob.csv')]
    const [amy = [], bob = []] = tables.map(csv => lines(csv).slice(1))
    const csvOf = async (...folder: readonly string[]) => {
      const files = await readdir(made(name, ...folder))
      const parts = await Promise.all(files.map(file => text(name, ...folder, file)))
      return parts.flatMap(csv => lines(csv).slice(1)).sort()
    }
    expect(await csvOf('union')).toEqual([...amy, ...bob].sort())
    for (const job of ['Developer', 'Engineer', 'Researcher']) {
      const pairs = amy.flatMap(one => {
        const [name, age, work] = one.split(',')
        const same = bob.filter(other => work === job && other.endsWith(`,${age},${job}`))
        return same.map(other => `${age},${name},${other.split(',')[0]}`)
      })
      expect(pairs.length).toBeGreaterThan(10)
      expect(await csvOf('join', `job=${job}`)).toEqual(pairs.sort())
    }
  })

  const pyArrow = process.env['CLOISTER_PYTHON_CLIENT']
  it.runIf(SLOW && pyArrow)('spark-parquet-exchange is read by PyArrow', async () => {
    const name = 'spark-parquet-exchange'
    await clone.run(name, { says: 'PyArrow opens what Spark made, and it is what is computed' })
  })
})

/** A line through points, and how well it fits, by the textbook. */
function leastSquares(rows: readonly (readonly [number, number])[]): Record<string, number> {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length
  const [meanX, meanY] = [mean(rows.map(([x]) => x)), mean(rows.map(([, y]) => y))]
  const slope =
    mean(rows.map(([x, y]) => (x - meanX) * (y - meanY))) /
    mean(rows.map(([x]) => (x - meanX) ** 2))
  const intercept = meanY - slope * meanX
  const errors = rows.map(([x, y]) => y - intercept - slope * x)
  const absolute = errors.map(Math.abs).sort((a, b) => a - b)
  const middle = absolute.length / 2
  const squared = mean(errors.map(error => error ** 2))
  return {
    intercept,
    coefficient: slope,
    'R2 score': 1 - squared / mean(rows.map(([, y]) => (y - meanY) ** 2)),
    'mean squared error': squared,
    'mean absolute error': mean(absolute),
    'median absolute error': mean([
      absolute[Math.ceil(middle) - 1] ?? 0,
      absolute[Math.floor(middle)] ?? 0,
    ]),
  }
}
