import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from './encoding.ts'
import { KmsError } from './errors.ts'
import { jobFixture } from './job-statement.test.support.ts'
import {
  encodeJobStatement,
  type JobStatement,
  jobDigest,
  parseJobStatement,
} from './job-statement.ts'

const malformed = expect.objectContaining({ name: 'KmsError', code: 'MALFORMED' })
const job = jobFixture()

describe('job statements', () => {
  it('have the digest that this file says', () => {
    expect(toHex(jobDigest(job))).toBe(
      'ddce650b796721e73cbf11237e08864e53a549f2b9e8590f8298958c54cd9561',
    )
  })

  it('have one digest in whatever order their members come', () => {
    const reversed = Object.fromEntries(Object.entries(job).reverse())
    expect(jobDigest(parseJobStatement(reversed))).toEqual(jobDigest(job))
  })

  it('have another digest for any change', () => {
    const [input] = job.inputs
    const [output] = job.outputs
    if (!input || !output) throw new Error('the fixture has both')
    const changed: JobStatement[] = [
      { ...job, measurement: 'ab'.repeat(32) },
      { ...job, command: { kind: 'exec', argv: ['/bin/true'] } },
      { ...job, environment: { A: '1' } },
      { ...job, inputs: [{ ...input, version: 2 }] },
      { ...job, inputs: [{ ...input, datasetId: '0'.repeat(32) }] },
      { ...job, outputs: [{ ...output, datasetId: '0'.repeat(32) }] },
      { ...job, outputs: [{ ...output, cmkId: '11111111-2222-3333-4444-555555555555' }] },
      { ...job, resources: { memoryMiB: 513 } },
      { ...job, kms: [...job.kms, 'A'.repeat(122)] },
    ]
    const digests = [job, ...changed].map(each => toHex(jobDigest(each)))
    expect(new Set(digests).size).toBe(digests.length)
  })

  it.each<[string, unknown]>([
    ['an unknown member', { ...job, extra: 1 }],
    ['a missing member', { ...job, resources: undefined }],
    ['another version', { ...job, version: 2 }],
    ['a fraction', { ...job, resources: { memoryMiB: 1.5 } }],
    ['upper-case hexadecimal', { ...job, measurement: 'AB'.repeat(32) }],
    ['no key service', { ...job, kms: [] }],
    ['a name twice', { ...job, inputs: [...job.inputs, ...job.inputs] }],
    ['an output that is not declared', { ...job, outputs: [] }],
    ['an output written twice', twice()],
    ['half a surrogate pair', { ...job, environment: { A: '\ud800' } }],
    ['a zero byte', { ...job, environment: { A: 'a\u0000b' } }],
    ['an odd variable name', { ...job, environment: { 'A=B': 'c' } }],
    ['more than a mebibyte', { ...job, environment: big() }],
    ['no object', null],
    ['a list', [job]],
  ])('with %s are refused', (_what, value) => {
    expect(() => parseJobStatement(value)).toThrow(malformed)
  })

  it('are a value or a coded error, whatever comes', () => {
    fc.assert(
      fc.property(fc.anything(), value => {
        try {
          parseJobStatement(value)
          return false
        } catch (error) {
          return error instanceof KmsError && error.code === 'MALFORMED'
        }
      }),
    )
  })

  it('come back from their bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), text => {
        fc.pre(!text.includes('\u0000'))
        const argued: JobStatement = { ...job, command: { kind: 'exec', argv: ['/bin/x', text] } }
        const bytes = encodeJobStatement(argued)
        const back = parseJobStatement(JSON.parse(Buffer.from(bytes).toString('utf8')))
        return Buffer.compare(encodeJobStatement(back), bytes) === 0
      }),
    )
  })
})

function twice() {
  const query = { output: 'result', sql: 'SELECT 1' }
  return { ...job, command: { kind: 'sql', queries: [query, query] } }
}

function big() {
  const half = randomBytes(300_000).toString('hex')
  return { A: half, B: half }
}
