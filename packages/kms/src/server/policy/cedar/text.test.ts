import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { A, B, KEY_ID, keyWithPolicies, principal } from '../policies.test.fixture.ts'
import { clausesOf, clauseText, readCedar } from './clauses.ts'
import { CEDAR_SCHEMA } from './schema.ts'
import { tryCedar } from './trial.ts'

const KEY = `Cloister::Key::"${KEY_ID}"`
const permit = (conditions: string, resource = `resource == ${KEY}`) =>
  `permit (principal, action, ${resource}) ${conditions};`
const when = (body: string) => permit(`when { principal.measurement == "${A}" && ${body} }`)

const INVALID = { code: 'POLICY_INVALID' }

describe('a text of an expert’s', () => {
  it('is taken when it is one policy for one key that names its images', async () => {
    expect(await tryCedar(when(`context.jobDigest == "${B}"`))).toMatchObject({
      keyId: KEY_ID,
      effect: 'permit',
      namesJob: true,
    })
    expect(await tryCedar(when('principal.tee == "sgx"'))).toMatchObject({ namesJob: false })
    const signer = `when { principal has mrSigner && principal.mrSigner == "${B}" }`
    expect(await tryCedar(permit(signer))).toMatchObject({ effect: 'permit' })
    const forbid = `forbid (principal, action, resource == ${KEY}) when { context.weekday > 5 };`
    expect(await tryCedar(forbid)).toMatchObject({ effect: 'forbid' })
    const owner = `@owner("security")\n// why\n${when('true')}`
    expect(await tryCedar(owner)).toMatchObject({ keyId: KEY_ID })
  })

  it.each([
    ['an alias for a key', when('true').replace(KEY_ID, 'patients')],
    ['an alias in a condition', when('resource == Cloister::Key::"patients"')],
    [
      'another key in a condition',
      when(`resource in [Cloister::Key::"${'1'.repeat(8)}-1111-4111-8111-111111111111"]`),
    ],
    ['no key', permit(`when { principal.measurement == "${A}" }`, 'resource')],
    ['every key', permit(`when { principal.measurement == "${A}" }`, 'resource is Cloister::Key')],
    ['a list of keys', permit(`when { principal.measurement == "${A}" }`, `resource in ${KEY}`)],
    ['any image', permit('when { context.releases < 3 }')],
    ['no condition', permit('')],
    ['an unknown attribute', when('principal.unknown == 1')],
    ['another type', when('principal.debug == "no"')],
    ['an attribute that may not be there', when(`principal.mrSigner == "${B}"`)],
    ['an unknown principal', `permit (principal is Nobody, action, resource == ${KEY});`],
    [
      'an unknown action',
      `permit (principal, action == Cloister::Action::"read", resource == ${KEY});`,
    ],
    ['two policies', `${when('true')}\n${when('false')}`],
    ['a template of Cedar’s', `permit (principal == ?principal, action, resource == ${KEY});`],
    ['no end', when('true').slice(0, -1)],
    ['a policy’s count', when('Cloister::Policy::"p".releases < 3')],
    ['nothing', ' '],
    ['a condition that never holds', when('1 == 2 && principal.tee == 7')],
  ])('is refused with %s', async (_what, cedar) => {
    await expect(tryCedar(cedar)).rejects.toMatchObject(INVALID)
  })

  it('that is too long or too deep is refused, and Cedar goes on', {
    timeout: 60_000,
  }, async () => {
    const deep: readonly string[] = [
      `${'('.repeat(4000)}true${')'.repeat(4000)}`,
      `${'('.repeat(33)}true${')'.repeat(33)}`,
      '['.repeat(2000) + ']'.repeat(2000),
      Array(2000).fill('true').join('&&'),
      Array(600)
        .fill('principal.tee == "a"')
        .join('||')
        .slice(0, 8000)
        .replace(/\|\|[^|]*$/, ''),
      `${'if true then '.repeat(300)}true${' else true'.repeat(300)}`,
      `principal.tee == "${'a'.repeat(9000)}"`,
      `${`${'!'.repeat(3)}(`.repeat(30)}true${')'.repeat(30)}`,
    ]
    for (const body of deep) {
      const tried = tryCedar(when(body)).then(
        () => 'taken',
        (error: { code?: string }) => error.code,
      )
      expect(['taken', 'POLICY_INVALID']).toContain(await tried)
      expect(readCedar(when('true')).effect).toBe('permit')
    }
    await expect(tryCedar(when(deep[0] ?? ''))).rejects.toMatchObject(INVALID)
    await expect(tryCedar(when(deep[2] ?? ''))).rejects.toMatchObject(INVALID)
  })

  it('waits for its turn, and not with more than 15 others', { timeout: 120_000 }, async () => {
    const long = `principal.tee == "${'a'.repeat(9000)}"`
    await expect(tryCedar(when(long))).rejects.toMatchObject(INVALID)
    const tries = await Promise.allSettled(
      Array.from({ length: 18 }, (_, index) => tryCedar(index < 3 ? when('true') : 'x')),
    )
    const codes = tries.map(one => (one.status === 'fulfilled' ? 'taken' : one.reason.code))
    expect(codes.slice(0, 4)).toEqual(['taken', 'taken', 'taken', 'POLICY_INVALID'])
    expect(codes.slice(16)).toEqual(['BUSY', 'BUSY'])
  })

  it('of any kind ends in a verdict, never a crash', { timeout: 120_000 }, async () => {
    const tokens = fc.constantFrom(
      ...[
        'permit',
        'forbid',
        '(',
        ')',
        '{',
        '}',
        'when',
        'unless',
        'principal',
        'action',
        'resource',
      ],
      ...[
        '==',
        '&&',
        '||',
        '!',
        '-',
        '.',
        'has',
        'like',
        'in',
        'is',
        '[',
        ']',
        ',',
        ';',
        '"a"',
        '1',
      ],
      ...[
        KEY,
        'context',
        'releases',
        'measurement',
        'if',
        'then',
        'else',
        '@id("x")',
        '::',
        '\u0000',
      ],
    )
    const texts = fc.oneof(
      fc.array(tokens, { maxLength: 60 }).map(list => list.join(' ')),
      fc.array(tokens, { maxLength: 20 }).map(list => when(list.join(' '))),
      fc.string({ unit: 'binary', maxLength: 200 }),
    )
    await fc.assert(
      fc.asyncProperty(texts, async cedar => {
        const verdict = await tryCedar(cedar).then(
          () => 'taken',
          (error: { code?: string }) => error.code,
        )
        expect(['taken', 'POLICY_INVALID']).toContain(verdict)
      }),
      { numRuns: process.env['SLOW'] === '1' ? 500 : 15 },
    )
  })

  it('has every attribute that the page lists, and no other', async () => {
    const attributes = [...CEDAR_SCHEMA.matchAll(/^ {4,6}(\w+)\??: \w/gm)].map(([, name]) => name)
    const { readFile } = await import('node:fs/promises')
    const page = await readFile(
      new URL('../../../../../../docs/formats/release-policy.md', import.meta.url),
      'utf8',
    )
    const listed = [...page.matchAll(/^\| `(?:principal|context)\.(\w+)`/gm)].map(
      ([, name]) => name,
    )
    expect(listed.sort()).toEqual(
      attributes.filter(name => !['principal', 'resource', 'context'].includes(name ?? '')).sort(),
    )
  })
})

describe('a denial by a text', () => {
  it('names the parts of it that do not hold, and what they read', async () => {
    const { addText, evaluate } = await keyWithPolicies()
    const { policyId } =
      await addText(`permit (principal, action == Cloister::Action::"release", resource == KEY)
      when { principal.measurement == "${A}" && principal.tcbStatus == "UpToDate" }
      when { context.releases < 5 || context.weekday == 7 }
      unless { principal.tee == "sim" || context.datasetId == "x" };`)
    const decision = await evaluate({
      action: 'seal',
      principal: { ...principal, tcbStatus: 'OutOfDate' },
    })
    if (decision.decision !== 'deny') throw new Error('wanted a denial')
    expect(decision.reasons).toEqual([
      expect.objectContaining({ code: 'ACTION', policyId, seen: 'seal' }),
      expect.objectContaining({
        code: 'CONDITION',
        policyId,
        wanted: 'when { principal.tcbStatus == "UpToDate" }',
        seen: 'principal.tcbStatus "OutOfDate"',
      }),
      expect.objectContaining({
        code: 'CONDITION',
        wanted: 'unless { principal.tee == "sim" }',
        seen: 'principal.tee "sim"',
      }),
    ])
  })

  it('that forbids outweighs what others permit, and is named', async () => {
    const { add, addText, evaluate, policies, store } = await keyWithPolicies()
    await add()
    expect(await evaluate()).toMatchObject({ decision: 'permit' })
    const { policyId } = await addText(
      `forbid (principal, action, resource == KEY) when { principal.tee == "sim" };`,
    )
    expect(await evaluate()).toMatchObject({
      decision: 'deny',
      reasons: [{ code: 'FORBIDDEN', policyId, seen: 'principal.tee "sim"' }],
    })
    expect(await evaluate({ principal: { ...principal, tee: 'sgx' } })).toMatchObject({
      decision: 'permit',
    })
    await store.write(tx => policies.remove(tx, policyId))
    expect(await evaluate()).toMatchObject({ decision: 'permit' })
  })

  it('that could not be evaluated denies all', async () => {
    const { add, addText, evaluate } = await keyWithPolicies()
    await add()
    await addText(`forbid (principal, action, resource == KEY)
      when { principal has isvSvn && principal.isvSvn + 9223372036854775807 > 0 };`)
    const decision = await evaluate()
    expect(decision).toMatchObject({ decision: 'deny', reasons: [{ code: 'EVALUATION' }] })
  })

  it('speaks of releases so far, of its key and by a policy', async () => {
    const { addText, evaluate, keyId, policies, store } = await keyWithPolicies()
    const { policyId } = await addText(`permit (principal, action, resource == KEY)
      when { principal.measurement == "${A}" && context.jobDigest == "${B}" }
      when { context.releases < 2 };`)
    const count = () => store.write(tx => policies.count(tx, [{ keyId, policyId }]))
    await count()
    expect(await evaluate()).toMatchObject({ decision: 'permit' })
    await count()
    expect(await evaluate()).toMatchObject({
      decision: 'deny',
      reasons: [{ code: 'CONDITION', seen: 'context.releases 2' }],
    })
    expect(await evaluate({ action: 'seal' }, new Set([policyId]))).toMatchObject({
      decision: 'permit',
    })
  })

  it('looks at so many parts one by one, and at the others as a whole', async () => {
    const { addText, evaluate } = await keyWithPolicies()
    const parts = Array.from({ length: 30 }, (_, index) => `context.weekday != ${index + 10}`)
    const text = `permit (principal, action, resource == KEY)
      when { principal.measurement == "${B}" && context.jobDigest != "x" && ${parts.join(' && ')} };`
    for (let count = 0; count < 4; count++) await addText(text)
    const decision = await evaluate()
    if (decision.decision !== 'deny') throw new Error('wanted a denial')
    expect(decision.reasons.map(({ wanted }) => wanted.slice(0, 40))).toEqual([
      'when { principal.measurement == "bbbbbbb',
      'when { principal.measurement == "bbbbbbb',
      'all of the text to hold',
      'all of the text to hold',
    ])
  })

  it('takes parts apart without changing what they mean', () => {
    const policy = readCedar(
      when('(context.releases < 3 || context.weekday == 1) && !principal.debug'),
    )
    expect(clausesOf(policy).map(clauseText)).toEqual([
      `when { principal.measurement == "${A}" }`,
      'when { (context.releases < 3) || (context.weekday == 1) }',
      'when { !principal.debug }',
    ])
  })
})
