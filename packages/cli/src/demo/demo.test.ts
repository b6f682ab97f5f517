import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MAIN } from '../cloister.test.support.ts'
import type { DemoOutcome } from './demo.ts'

const ROWS = 20_000

/** By pandas 3.1 over pyarrow 26, from the same file: groupby('origin').delay.agg(['size', 'mean']). */
const BUSIEST = [
  'ORD,166341,9.274',
  'DFW,157162,7.701',
  'ATL,124711,8.828',
  'LAX,115245,7.423',
  'PHX,93036,9.994',
]

let folder: string
let outcome: DemoOutcome

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-demo-test-'))
  const argv = [MAIN, 'demo', '--json', '--rows', String(ROWS), '--folder', join(folder, 'demo')]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { maxBuffer: 1 << 24 })
  outcome = JSON.parse(stdout)
}, 240_000)

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe('cloister demo', () => {
  it('counts what the generator made', async () => {
    const text = await readFile(join(folder, 'demo', 'people.csv'), 'utf8')
    const young = text
      .trimEnd()
      .split('\n')
      .slice(1)
      .filter(line => {
        const [, age, job] = line.split(',')
        return job === 'Developer' && Number(age) >= 20 && Number(age) <= 40
      })
    expect(outcome.youngDevelopers).toEqual({ generated: young.length, queried: young.length })
    expect(young.length).toBeGreaterThan(0)
  })

  it('says of real flights what another tool says', () => {
    expect(outcome.flights).toEqual(BUSIEST)
  })

  it('shows each attack refused for its own reason', () => {
    expect(outcome.attacks.map(({ name, code }) => [name, code])).toEqual([
      ['a changed byte in the data', 'TAG'],
      ['a changed image', 'CHANGED'],
      ['a changed image, measured and signed anew', 'MEASUREMENT'],
      ['another query under the same image', 'JOB_DIGEST'],
      ['an older dataset put back', 'VERSION'],
      ['a false KMS', 'FALSE_KMS'],
    ])
    for (const { reason } of outcome.attacks) expect(reason).toMatch(/\w{3}/)
  })

  it('says that the TEE was simulated, where the receipts are, and how long each step took', () => {
    expect(outcome.simulated).toBe(true)
    expect(outcome.receipts).toHaveLength(2)
    expect(outcome.steps.length).toBeGreaterThan(8)
    for (const { seconds } of outcome.steps) expect(seconds).toBeGreaterThanOrEqual(0)
  })

  it('keeps no plaintext where the host stores what is sealed', async () => {
    const text = await readFile(join(folder, 'demo', 'people.csv'), 'latin1')
    const line = text.split('\n')[17] ?? ''
    const { stdout } = await promisify(execFile)('grep', ['-rlaF', line, join(folder, 'demo')])
    expect(stdout.trim().split('\n')).toEqual([join(folder, 'demo', 'people.csv')])
  })
})
