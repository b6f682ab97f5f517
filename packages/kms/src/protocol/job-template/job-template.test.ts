// biome-ignore-all lint/suspicious/noTemplateCurlyInString: so do the holes of job templates look
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type JobStatement, parseJobStatement } from '../job-statement.ts'
import {
  type JobTemplate,
  jobTemplateDigest,
  jobTemplateOf,
  parseJobTemplate,
} from './job-template.ts'
import { jobMismatches } from './match.ts'
import { matchesText, parseText } from './text.ts'

const MALFORMED = expect.objectContaining({ code: 'MALFORMED' })
const SPKI = `${'A'.repeat(121)}Q`
const CMK = '00000000-0000-4000-8000-000000000000'

const job: JobStatement = parseJobStatement({
  version: 1,
  measurement: 'a'.repeat(64),
  command: {
    kind: 'sql',
    queries: [
      { output: 'result', sql: "SELECT count(*) FROM people WHERE day = '2026-01-31' -- $1" },
    ],
  },
  environment: { LANG: 'C.UTF-8' },
  inputs: [
    { name: 'people', datasetId: 'b'.repeat(32), version: 3, format: 'csv' },
    { name: 'visits', datasetId: 'd'.repeat(32), version: 1, format: 'parquet' },
  ],
  outputs: [{ name: 'result', datasetId: 'c'.repeat(32), cmkId: CMK, format: 'csv' }],
  resources: { memoryMiB: 512 },
  kms: [SPKI],
})

const [people, visits] = job.inputs
const sqlOf = (sql: string): JobStatement['command'] => ({
  kind: 'sql',
  queries: [{ output: 'result', sql }],
})

const varied = (change: Partial<Record<keyof JobTemplate, unknown>>): JobTemplate =>
  parseJobTemplate({ ...jobTemplateOf(job), ...change })

const places = (template: JobTemplate, of: JobStatement) =>
  jobMismatches(template, of).map(({ where }) => where)

describe('a job template without variations', () => {
  it('matches its job and no other: any one thing changed is named', () => {
    const template = jobTemplateOf(job)
    expect(jobMismatches(template, job)).toEqual([])
    const changes: readonly (readonly [string, Partial<JobStatement>])[] = [
      ['measurement', { measurement: 'b'.repeat(64) }],
      ['command.queries[0].sql', { command: sqlOf('SELECT * FROM people') }],
      ['command', { command: { kind: 'exec', argv: ['/bin/true'] } }],
      ['environment.LANG', { environment: { LANG: 'C' } }],
      ['environment', { environment: { LANG: 'C.UTF-8', LD_PRELOAD: '/x' } }],
      ['environment', { environment: {} }],
      [
        'inputs[0].version',
        { inputs: [{ ...people, version: 4 } as typeof people, visits] as JobStatement['inputs'] },
      ],
      ['inputs', { inputs: [visits, people] as JobStatement['inputs'] }],
      ['inputs', { inputs: job.inputs.slice(0, 1) }],
      [
        'inputs',
        {
          inputs: [
            ...job.inputs,
            { name: 'more', datasetId: 'e'.repeat(32), version: 1, format: 'csv' },
          ],
        },
      ],
      ['outputs', { outputs: [] }],
      [
        'outputs',
        { outputs: job.outputs.map(output => ({ ...output, datasetId: 'e'.repeat(32) })) },
      ],
      [
        'outputs',
        { outputs: job.outputs.map(output => ({ ...output, cmkId: CMK.replace('8', '9') })) },
      ],
      ['resources.memoryMiB', { resources: { memoryMiB: 513 } }],
      ['kms', { kms: [SPKI, `${'B'.repeat(121)}Q`] }],
      ['other members', { more: 1 } as unknown as Partial<JobStatement>],
    ]
    for (const [where, change] of changes) {
      expect(places(template, { ...job, ...change })).toContain(where)
    }
  })

  it('takes a job’s own dollars for what they are', () => {
    for (const sql of ['$', '$$', '${x}', '$${x}', 'a$1$', '$$$', '${']) {
      const costly = { ...job, command: sqlOf(sql) }
      expect(jobMismatches(jobTemplateOf(costly), costly)).toEqual([])
      expect(places(jobTemplateOf(costly), job)).toEqual(['command.queries[0].sql'])
    }
  })

  it('is the same for any job that is the same, whatever it says', () => {
    const texts = fc.string({ unit: fc.constantFrom('$', '{', '}', 'a', '0', '-', "'", ' ', 'é') })
    fc.assert(
      fc.property(texts, texts, (one, two) => {
        const first = { ...job, command: sqlOf(one), environment: { X: two } }
        const second = { ...job, command: sqlOf(two), environment: { X: two } }
        const template = jobTemplateOf(first)
        expect(jobMismatches(template, first)).toEqual([])
        expect(jobMismatches(template, second).length > 0).toBe(one !== two)
      }),
    )
  })

  it('has a digest of its own', () => {
    expect(jobTemplateDigest(jobTemplateOf(job))).toBe(jobTemplateDigest(jobTemplateOf({ ...job })))
    const other = jobTemplateOf({ ...job, resources: { memoryMiB: 1 } })
    expect(jobTemplateDigest(other)).not.toBe(jobTemplateDigest(jobTemplateOf(job)))
  })
})

describe('what may vary', () => {
  it('is an input’s version, from one on or any; and nothing else of the input', () => {
    const inputs = [
      { ...people, version: { min: 2 } },
      { ...visits, version: 'any' },
    ]
    const template = varied({ inputs })
    const at = (first: number, second: number) =>
      places(template, {
        ...job,
        inputs: [
          { ...people, version: first } as (typeof job.inputs)[number],
          { ...visits, version: second } as (typeof job.inputs)[number],
        ],
      })
    expect(at(2, 1)).toEqual([])
    expect(at(9, 9)).toEqual([])
    expect(at(1, 9)).toEqual(['inputs[0].version'])
    const swapped = job.inputs.map(input => ({ ...input, datasetId: visits?.datasetId ?? '' }))
    expect(places(template, { ...job, inputs: swapped })).toEqual(['inputs'])
  })

  it('is the image, the memory up to some, and nothing beside', () => {
    const template = varied({ measurement: 'any', resources: { memoryMiB: { max: 1024 } } })
    const other = { ...job, measurement: 'f'.repeat(64), resources: { memoryMiB: 1024 } }
    expect(places(template, other)).toEqual([])
    expect(places(template, { ...other, resources: { memoryMiB: 1025 } })).toEqual([
      'resources.memoryMiB',
    ])
  })

  it('is what holes may hold, the same wherever a hole stands', () => {
    const template = varied({
      command: sqlOf(
        "SELECT ${column} FROM people WHERE day = '${day}' AND n < ${n} OR day > '${day}'",
      ),
      holes: {
        column: { kind: 'oneOf', values: ['age', 'age_group', 'count(*)'] },
        day: { kind: 'date', from: '2026-01-01', to: '2026-12-31' },
        n: { kind: 'integer', min: -5, max: 100 },
      },
    })
    const run = (column: string, day: string, n: string, again = day) =>
      places(template, {
        ...job,
        command: sqlOf(
          `SELECT ${column} FROM people WHERE day = '${day}' AND n < ${n} OR day > '${again}'`,
        ),
      }).length === 0
    expect(run('age', '2026-05-01', '0')).toBe(true)
    expect(run('age_group', '2026-12-31', '-5')).toBe(true)
    expect(run('count(*)', '2026-01-01', '100')).toBe(true)
    for (const [column, day, n, again] of [
      ['name', '2026-05-01', '0'],
      ['age, name', '2026-05-01', '0'],
      ['', '2026-05-01', '0'],
      ['age', '2027-01-01', '0'],
      ['age', '2026-02-30', '0'],
      ['age', '2026-5-1', '0'],
      ['age', "2026-05-01' OR '1'='1", '0'],
      ['age', "2026-05-01'; --", '0'],
      ['age', '2026-05-01', '101'],
      ['age', '2026-05-01', '-6'],
      ['age', '2026-05-01', '007'],
      ['age', '2026-05-01', '-0'],
      ['age', '2026-05-01', '1e1'],
      ['age', '2026-05-01', '99999999999999999999'],
      ['age', '2026-05-01', ''],
      ['age', '2026-05-01', '0 OR TRUE'],
      ['age', '2026-05-01', '0', '2026-05-02'],
      ['age', '2026-05-01\n', '0'],
      ['age', '２０26-05-01', '0'],
    ] as const) {
      expect([column, day, n, run(column, day, n, again)]).toEqual([column, day, n, false])
    }
  })

  it('is never what ends a text, quotes it, or parts it: a word', () => {
    const template = varied({
      command: { kind: 'exec', argv: ['/app', '--site=${site}', '${site}'] },
      holes: { site: { kind: 'word', maxLength: 12 } },
    })
    const run = (site: string, again = site) =>
      places(template, {
        ...job,
        command: { kind: 'exec', argv: ['/app', `--site=${site}`, again] },
      }).length === 0
    expect(run('clinic-7')).toBe(true)
    expect(run('a_b.C-0')).toBe(true)
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), text => {
        expect(run(text)).toBe(/^[A-Za-z0-9_.-]{1,12}$/.test(text))
      }),
    )
    for (const site of ['a b', "a'", 'a"', 'a/..', 'a\u0000', 'a=b', '', 'a'.repeat(13), 'é']) {
      expect(run(site)).toBe(false)
    }
    expect(run('a', 'b')).toBe(false)
    const more = { kind: 'exec' as const, argv: ['/app', '--site=a', 'a', '--all'] }
    expect(places(template, { ...job, command: more })).toContain('command')
  })
})

describe('a job template', () => {
  const word = { kind: 'word', maxLength: 8 }
  it.each([
    ['an undeclared hole', { command: sqlOf('${x}') }],
    ['a hole without an end that is declared', { command: sqlOf('${}') }],
    ['two holes in a row', { command: sqlOf('${a}${b}'), holes: { a: word, b: word } }],
    ['a run that could go on', { command: sqlOf('${a}x'), holes: { a: word } }],
    [
      'a number that could go on',
      { command: sqlOf('${a}0'), holes: { a: { kind: 'integer', min: 0, max: 9 } } },
    ],
    [
      'a pattern of another kind',
      { command: sqlOf('${a}'), holes: { a: { kind: 'regex', pattern: '.*' } } },
    ],
    ['numbers from more to less', { holes: { a: { kind: 'integer', min: 2, max: 1 } } }],
    [
      'a day that is none',
      { holes: { a: { kind: 'date', from: '2026-02-30', to: '2026-03-01' } } },
    ],
    [
      'days from later to earlier',
      { holes: { a: { kind: 'date', from: '2026-02-03', to: '2026-02-02' } } },
    ],
    ['a choice of none', { holes: { a: { kind: 'oneOf', values: [] } } }],
    ['a choice of nothing', { holes: { a: { kind: 'oneOf', values: [''] } } }],
    ['a hole by an odd name', { holes: { 'a b': word } }],
    ['an unknown member', { more: true }],
    ['an output that may vary', { outputs: [{ ...job.outputs[0], datasetId: 'any' }] }],
    ['any dataset for an input', { inputs: [{ ...people, datasetId: 'any' }] }],
    ['any key service', { kms: [] }],
    ['too much', { command: sqlOf('x'.repeat(66_000)) }],
  ])('is refused with %s', (_what, change) => {
    expect(() => varied(change as Partial<Record<keyof JobTemplate, unknown>>)).toThrow(MALFORMED)
  })

  it('fails with a code on anything else', () => {
    fc.assert(
      fc.property(fc.anything(), value => {
        expect(() => parseJobTemplate(value)).toThrow(MALFORMED)
      }),
    )
  })
})

describe('texts with holes', () => {
  it('match what they are filled with, and in linear time', () => {
    const holes = { w: { kind: 'word', maxLength: 128 } } as const
    const words = fc.stringMatching(/^[A-Za-z0-9_.-]{1,8}$/)
    const literals = fc.stringMatching(/^[ '",;=/]{1,3}$/)
    fc.assert(
      fc.property(fc.array(literals, { minLength: 1, maxLength: 8 }), words, (parts, word) => {
        const pattern = parseText('x', parts.join('${w}'), holes)
        const holds = (text: string) => matchesText(pattern, text, holes, new Map())
        expect(holds(parts.join(word))).toBe(true)
        expect(holds(`${parts.join(word)}x`)).toBe(false)
      }),
    )
    const many = parseText('x', '${w} '.repeat(5000), holes)
    const started = performance.now()
    expect(matchesText(many, `${'a'.repeat(128)} `.repeat(5000), holes, new Map())).toBe(true)
    expect(matchesText(many, 'a'.repeat(640_000), holes, new Map())).toBe(false)
    expect(performance.now() - started).toBeLessThan(2000)
  })
})
