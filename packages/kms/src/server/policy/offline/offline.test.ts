import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { EXPLAINED_CODES, explainDenial } from '../../../client/explain-denial.ts'
import { A, at, B, KEY_ID, template } from '../policies.test.fixture.ts'
import { describedCase, parseCaseFile, parseDescribedRequest } from './case-file.ts'
import { OfflinePolicies } from './offline-policies.ts'

const given = parseDescribedRequest({
  key: KEY_ID,
  evidence: { measurement: A, tee: 'sim' },
  jobDigest: B,
})
const forbid = `forbid (principal, action, resource == Cloister::Key::"${KEY_ID}")
  when { principal.tee == "sgx" };`

const open = () =>
  OfflinePolicies.open([
    { name: 'allow.yaml', source: { template: { ...template, maxReleases: 2 } } },
    { name: 'old.yaml', source: { template: { ...template, tees: ['tdx'], jobDigests: [A] } } },
    { name: 'stop.cedar', source: { cedar: forbid } },
  ])

describe('policies offline', () => {
  it('decide as a key service does, by their names', async () => {
    const policies = await open()
    const decide = (one: Parameters<typeof describedCase>[0]['one']) =>
      policies.decide(describedCase({ given, one }, undefined, at))
    expect(decide({})).toEqual({ decision: 'permit', policy: 'allow.yaml' })
    const denied = decide({ evidence: { tcbStatus: 'OutOfDate' }, releases: { policy: 2 } })
    if (denied.decision !== 'deny') throw new Error('wanted a denial')
    expect(denied.reasons.map(({ code, policyId }) => [policyId, code])).toEqual([
      ['allow.yaml', 'TCB_STATUS'],
      ['allow.yaml', 'RELEASE_LIMIT'],
      ['old.yaml', 'TEE'],
      ['old.yaml', 'TCB_STATUS'],
      ['old.yaml', 'JOB_DIGEST'],
    ])
    expect(denied.reasons[0]?.message).toContain('policy allow.yaml: TCB status')
    expect(decide({ evidence: { tee: 'sgx' } })).toMatchObject({
      reasons: [
        { code: 'TEE', policyId: 'old.yaml' },
        { code: 'JOB_DIGEST' },
        { code: 'FORBIDDEN', policyId: 'stop.cedar' },
      ],
    })
    const other = '1'.repeat(8) + KEY_ID.slice(8)
    expect(decide({ key: other })).toMatchObject({ reasons: [{ code: 'NO_POLICY' }] })
  })

  it('are checked as when they are stored, and the one that is not valid is named', async () => {
    const aliased = { name: 'a.yaml', source: { template: { ...template, keyId: 'patients' } } }
    await expect(OfflinePolicies.open([aliased])).rejects.toMatchObject({
      code: 'POLICY_INVALID',
      message: expect.stringContaining('a.yaml'),
    })
    const wide = { name: 'b.cedar', source: { cedar: 'permit (principal, action, resource);' } }
    await expect(OfflinePolicies.open([wide])).rejects.toMatchObject({
      message: expect.stringContaining('b.cedar'),
    })
  })
})

describe('a file of cases', () => {
  const one = { name: 'x', expect: 'permit' }
  it.each([
    ['another version', { version: 2, cases: [one] }],
    ['no case', { version: 1, cases: [] }],
    ['an unknown member', { version: 1, cases: [one], more: 1 }],
    ['an unknown member of a case', { version: 1, cases: [{ ...one, tee: 'sim' }] }],
    ['an unknown claim', { version: 1, cases: [{ ...one, evidence: { mrenclave: A } }] }],
    ['a case without expectation', { version: 1, cases: [{ name: 'x' }] }],
    ['reasons for a permit', { version: 1, cases: [{ ...one, reasons: ['TEE'] }] }],
    ['an alias for a key', { version: 1, cases: [{ ...one, key: 'patients' }] }],
  ])('is refused with %s', (_what, value) => {
    expect(() => parseCaseFile(value)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })

  it('fills in nothing that a decision hangs on', () => {
    const described = (one: object) => () =>
      describedCase({ one: parseDescribedRequest(one) }, undefined, at)
    const whole = { key: KEY_ID, evidence: { measurement: A, tee: 'sim' } }
    expect(described(whole)().request).toMatchObject({ action: 'release', at })
    const { key: _key, ...keyless } = whole
    for (const part of [keyless, { key: KEY_ID }, { ...whole, evidence: { tee: 'sim' } }]) {
      expect(described(part)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
    }
  })
})

describe('an explanation', () => {
  it('puts the policy first that the fewest changes would make permit, and says them', async () => {
    const policies = await open()
    const one = { evidence: { tcbStatus: 'OutOfDate' } }
    const denied = policies.decide(describedCase({ given, one }, undefined, at))
    if (denied.decision !== 'deny') throw new Error('wanted a denial')
    const explained = explainDenial([...denied.reasons, ...denied.reasons])
    expect(explained.nearest).toBe('allow.yaml')
    expect(explained.policies.map(({ policyId, reasons }) => [policyId, reasons.length])).toEqual([
      ['allow.yaml', 1],
      ['old.yaml', 3],
    ])
    expect(explained.policies[0]?.reasons[0]).toMatchObject({
      wanted: 'UpToDate',
      seen: 'OutOfDate',
      change: 'bring the platform up to UpToDate, or add a policy whose tcbStatuses have OutOfDate',
    })
  })

  it('counts no policy as near that forbids, and puts first what no policy changes', () => {
    const explained = explainDenial([
      { code: 'FORBIDDEN', message: 'x', policyId: 'p', wanted: 'a', seen: 'b' },
      { code: 'KEY_DISABLED', message: 'x' },
      { code: 'RELEASE_DENIED', message: 'no key is released' },
    ])
    expect(explained.nearest).toBeUndefined()
    expect(explained.policies).toMatchObject([
      { reasons: [{ code: 'KEY_DISABLED' }] },
      { policyId: 'p', reasons: [{ code: 'FORBIDDEN' }] },
    ])
  })

  it('knows a change for every reason that a decision can have', () => {
    const source = readFileSync(
      new URL('../reasons.js', import.meta.url).pathname
        .replace('/dist/', '/src/')
        .replace(/js$/, 'ts'),
      'utf8',
    )
    const codes = [...source.matchAll(/^ {2}\| '([A-Z_]+)'$/gm)].map(([, code]) => code)
    expect(codes.length).toBeGreaterThan(20)
    for (const code of codes) expect(EXPLAINED_CODES).toContain(code)
  })
})
