import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jobDigest } from '@cloister/kms'
import { describe, expect, it } from 'vitest'
import { EngineError } from '../errors.ts'
import { jobStatementOf, parseJobFile, readJobFile } from './job-file.ts'

const KEY = '4cf0a7c1-0000-4000-8000-000000000000'
const REST = `inputs:
  people: { folder: people, dataset: ${'ab'.repeat(16)}, version: 3, format: files }
outputs:
  result: { folder: result, dataset: ${'cd'.repeat(16)}, key: ${KEY}, format: files }
resources: { memoryMiB: 512 }
`
const text = (lines: string) => `version: 1\nimage: some.image\n${lines}${REST}`
const PROGRAM = `arguments: [--rows=3, "two words"]
environment: { MODE: fast }
unprotectedHostFolders: { logs: ./logs }
`
const CONTEXT = { measurement: '0'.repeat(64), kms: ['key'] }

function refusal(lines: string): string {
  try {
    parseJobFile(text(lines))
  } catch (error) {
    if (error instanceof EngineError && error.code === 'JOB') return error.message
    throw error
  }
  throw new Error('it is refused')
}

describe('a job file', () => {
  it('of a program has its arguments and environment in the statement, and no host folder', () => {
    const job = jobStatementOf(parseJobFile(text(PROGRAM)), CONTEXT)
    expect(job).toMatchObject({
      command: { kind: 'exec', argv: ['--rows=3', 'two words'] },
      environment: { MODE: 'fast' },
      inputs: [{ name: 'people', version: 3, format: 'files' }],
    })
    expect(JSON.stringify(job)).not.toContain('logs')
  })

  it('of queries has them in the statement', () => {
    const queries = 'queries: [{ output: result, sql: SELECT 1 }]\n'
    const { command, environment } = jobStatementOf(parseJobFile(text(queries)), CONTEXT)
    expect(command).toEqual({ kind: 'sql', queries: [{ output: 'result', sql: 'SELECT 1' }] })
    expect(environment).toEqual({})
  })

  it('with another argument, or another value of a variable, is another job', () => {
    const digest = (lines: string) =>
      Buffer.from(jobDigest(jobStatementOf(parseJobFile(text(lines)), CONTEXT))).toString('hex')
    const digests = [
      digest(PROGRAM),
      digest(PROGRAM.replace('--rows=3', '--rows=4')),
      digest(PROGRAM.replace('fast', 'slow')),
    ]
    expect(new Set(digests).size).toBe(3)
  })

  it('names its folders from where it lies itself', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-job-'))
    try {
      await writeFile(join(folder, 'job.yaml'), text(PROGRAM))
      expect(await readJobFile(join(folder, 'job.yaml'))).toMatchObject({
        image: join(folder, 'some.image'),
        inputs: { people: { folder: join(folder, 'people') } },
        outputs: { result: { folder: join(folder, 'result') } },
        unprotectedHostFolders: { logs: join(folder, 'logs') },
      })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('that is a folder, or is not there, is refused by its name', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-job-'))
    try {
      const seen = await readJobFile(folder).catch((error: unknown) => error)
      expect(seen).toBeInstanceOf(EngineError)
      expect(seen).toMatchObject({ code: 'JOB', message: expect.stringContaining(folder) })
      await expect(readJobFile(join(folder, 'job.yaml'))).rejects.toMatchObject({ code: 'ENOENT' })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('that says nothing of what to do, two things, or something odd is refused where it stands', () => {
    expect(refusal('')).toMatch(/wanted queries, or the arguments/)
    const both = 'queries: [{ output: result, sql: SELECT 1 }]\narguments: []\n'
    expect(refusal(both)).toMatch(/^job\.yaml:4:\d+: arguments: /)
    expect(refusal('querys: []\n')).toMatch(/:3:\d+: .*"queries"/)
    expect(refusal('argumnets: []\n')).toMatch(/:3:\d+: .*"arguments"/)
    expect(refusal('arguments: [3]\n')).toMatch(/:3:13: arguments\.0: /)
    expect(refusal('arguments: []\nenvironment: { MODE: 3 }\n')).toMatch(/:4:\d+: /)
    const escaping = 'arguments: []\nunprotectedHostFolders: { ../logs: x }\n'
    expect(refusal(escaping)).toMatch(/:4:\d+: .*a map from names to folders/)
    expect(refusal('arguments: &list []\n')).toMatch(/:3:\d+: anchors/)
  })
})
