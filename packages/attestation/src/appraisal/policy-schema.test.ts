import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Change } from './appraisal-cases.test.support.ts'
import { AppraisalPolicyError } from './fields.ts'
import { policies } from './policies.test.support.ts'
import { readAppraisalPolicy } from './policy.ts'

/* docs/formats/appraisal-policy.schema.json is for editors; what reads policies is the code beside. */
const SCHEMA = new URL('../../../../docs/formats/appraisal-policy.schema.json', import.meta.url)
const schema = JSON.parse(readFileSync(SCHEMA, 'utf8'))
const isValid = new Ajv({ strict: true, strictRequired: false, strictTypes: false }).compile(schema)

/** Why the code refuses a policy; `undefined` when it reads it. */
function refusalOf(policy: unknown): AppraisalPolicyError | undefined {
  try {
    readAppraisalPolicy(policy)
  } catch (error) {
    if (error instanceof AppraisalPolicyError) return error
    throw error
  }
  return undefined
}

/** Both say the same, but that a schema knows no calendar. */
function requireAgreement(policy: unknown): void {
  const refusal = refusalOf(policy)
  if (refusal?.path === 'platform.minTcbDate') return
  expect([refusal?.message, isValid(policy)]).toEqual([refusal?.message, refusal === undefined])
}

type Node = Record<string, unknown>

/** Every place in a policy, as its members' names. */
function placesIn(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  const inside = Object.entries(value).flatMap(([name, one]) => placesIn(one, [...path, name]))
  return path.length === 0 ? inside : [path, ...inside]
}

/** A policy with one place changed; `undefined` takes it out. */
function changed(policy: Change, path: readonly string[], value: unknown): unknown {
  const copy = structuredClone(policy) as Node
  const last = path.at(-1) ?? ''
  const parent = path.slice(0, -1).reduce((node, name) => node[name] as Node, copy)
  if (value !== undefined) parent[last] = value
  else if (Array.isArray(parent)) parent.splice(Number(last), 1)
  else delete parent[last]
  return copy
}

describe('the JSON Schema of policies', () => {
  it('names every member that is read, and no other', () => {
    const unknown = { never: 1 }
    const known = (policy: unknown) => {
      const message = refusalOf(policy)?.message ?? ''
      return message.replace(/^.* known here are /, '').split(', ')
    }
    const { definitions: of } = schema
    const top = { version: 1, tees: [], ...unknown }
    expect(known(top).sort()).toEqual(Object.keys(schema.properties).sort())
    const rules = [
      ['platform', { platform: { tcbStatuses: [], ...unknown } }],
      ['snpPlatform', { snpPlatform: { minTcb: {}, ...unknown } }],
      ['enclave', { enclaves: [unknown] }],
      ['td', { tds: [{ mrTd: 'd0'.repeat(48), ...unknown }] }],
      ['guest', { guests: [{ measurement: 'd0'.repeat(48), ...unknown }] }],
    ] as const
    for (const [name, rule] of rules) {
      const names = known({ version: 1, tees: [], ...rule })
      expect([name, names.sort()]).toEqual([name, Object.keys(of[name].properties).sort()])
    }
  })

  it('accepts what the code reads', () => {
    fc.assert(
      fc.property(policies, policy => {
        expect([refusalOf(policy)?.message, isValid(policy)]).toEqual([undefined, true])
      }),
      { numRuns: 200 },
    )
  })

  it('refuses what the code refuses', () => {
    const values = fc.constantFrom<unknown>(
      ...[undefined, null, true, 0, -1, 1.5, 4, 300, 70_000, '', '0', 'UpToDate', '2025-08-13'],
      ...['2025-8-13', 'ab'.repeat(16), 'AB'.repeat(48), '00'.repeat(48), 'x'.repeat(96), [], {}],
      ...[['sgx'], ['UpToDate', 1], { value: '00', mask: '00' }],
    )
    const changes = policies.chain(policy =>
      fc.record({
        policy: fc.constant(policy),
        place: fc.constantFrom(...placesIn(policy)),
        value: values,
        isNew: fc.boolean(),
      }),
    )
    fc.assert(
      fc.property(changes, ({ policy, place, value, isNew }) => {
        requireAgreement(changed(policy, place, value))
        if (isNew) requireAgreement(changed(policy, [...place.slice(0, -1), 'unknown'], 1))
      }),
      { numRuns: 1000 },
    )
  })

  it.each([
    ['both kinds of grace', { platformGraceDays: 1, collateralGraceDays: 1 }, false],
    [
      'one kind of grace, and none of the other',
      { platformGraceDays: 1, collateralGraceDays: 0 },
      true,
    ],
  ])('says so of %s', (_what, grace, good) => {
    const policy = { version: 1, tees: [], platform: { tcbStatuses: [], ...grace } }
    expect([refusalOf(policy) === undefined, isValid(policy)]).toEqual([good, good])
  })

  it.each([
    ['a version without a key', {}, false],
    ['a version beside no key', { idKeyDigest: '00'.repeat(48) }, false],
    ['a version beside a key', { authorKeyDigest: '0a'.repeat(48) }, true],
  ])('says so of %s', (_what, keys, good) => {
    const guest = { measurement: 'd0'.repeat(48), minGuestSvn: 1, ...keys }
    const policy = { version: 1, tees: [], guests: [guest] }
    expect([refusalOf(policy) === undefined, isValid(policy)]).toEqual([good, good])
  })
})
