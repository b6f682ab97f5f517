import type { TSchema } from '@sinclair/typebox'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { KmsClient } from '../../client/kms-client.ts'
import { isKmsErrorCode, KMS_STATUS } from '../../protocol/errors.ts'
import { JWS_TYPES, signJws } from '../../protocol/jws.ts'
import { requests } from '../../protocol/messages.ts'
import { newKey, Scene, World } from '../flow.test.support.ts'
import { expectNoSecret, secretsIn } from './log-lines.test.fixture.ts'
import { OPERATIONS, type Operation } from './operations/index.ts'
import { rawCall } from './raw-call.test.support.ts'

const RUNS = process.env['SLOW'] === '1' ? 2000 : 40
const SECRET = Buffer.from('secret-in-a-body-of-32-bytes-ab!').toString('base64url')
const DAY_MS = 24 * 60 * 60 * 1000

const log: string[] = []
/** Secrets that answers gave. */
const given = new Set<string>()
let world: World
let credential: string
let operatorToken: string
/** Well-known values of members, by their names; of the others the schema makes some. */
let known: Readonly<Record<string, readonly unknown[]>>
let keyNames: readonly string[]

beforeAll(async () => {
  world = await World.start({ logTo: line => log.push(line), keyUpkeepSeconds: 0.1 })
  const account = await world.account()
  credential = account.credential
  operatorToken = await world.operatorToken()
  const owner = account.client
  const stranger = await world.enrol()
  const deleted = await owner.createKey({ mode: 'open' })
  await owner.scheduleKeyDeletion(deleted.keyId, 7)
  world.clock.skewMs = 8 * DAY_MS
  await vi.waitFor(async () => {
    expect((await owner.describeKey(deleted.keyId)).state).toBe('deleted')
  })
  world.clock.skewMs = 0
  const ids = [deleted.keyId, ...(await keysOf(owner))]
  ids.push((await stranger.createKey({ mode: 'open' })).keyId)
  const [, open = ''] = ids
  const { ciphertext } = await owner.encrypt(open, Buffer.from(SECRET, 'base64url'))
  const scene = await Scene.make(world, owner)
  const { body: evidence } = await scene.attestRaw({})
  keyNames = [...ids, 'alias/one', 'alias/none', '00000000-0000-4000-8000-000000000000']
  known = {
    keyId: ids,
    destinationKeyId: ids,
    plaintext: [SECRET],
    message: [SECRET],
    dek: [SECRET.padEnd(43, 'A').slice(0, 43)],
    ciphertext: [Buffer.from(ciphertext).toString('base64url'), 'AAAA'],
    // Most texts of the alphabet are no base64url.
    importToken: ['A'.repeat(43), 'AAAA'],
    encryptedKeyMaterial: [SECRET, 'AAAA'],
    header: [SECRET, 'AAAA'],
    // Not the long RSA keys: making them takes longer than all the rest.
    keySpec: ['SYMMETRIC_DEFAULT', 'ECC_NIST_P256', 'SM2'],
    wrappingKeySpec: ['RSA_2048'],
    alias: ['one', 'two', '~', 'a b'],
    // Half a character is text that has no UTF-8.
    description: ['what it is', '', 'half \ud800'],
    ...Object.fromEntries(Object.entries(evidence).map(([name, value]) => [name, [value]])),
    writerKey: [evidence.signKey],
    jws: await Promise.all(
      [JWS_TYPES.release, JWS_TYPES.heads].map(type => signJws(type, { kmsId: 'x' }, newKey())),
    ),
    encryptionContext: [{}, { a: 'b' }, { __proto: 'x', '': 'y' }],
  }
})

afterAll(() => world.stop())

/** Keys of every kind and state, all of one account. */
async function keysOf(owner: KmsClient): Promise<readonly string[]> {
  const sign = { mode: 'open', keyUsage: 'SIGN_VERIFY' } as const
  const made = [
    await owner.createKey({ mode: 'open', alias: 'one' }),
    await owner.createKey({ mode: 'attested-only' }),
    await owner.createKey({ ...sign, keySpec: 'ECC_NIST_P256' }),
    await owner.createKey({ ...sign, keySpec: 'SM2' }),
    await owner.createKey({ ...sign, keySpec: 'RSA_2048' }),
    await owner.createKey({ mode: 'open', keySpec: 'RSA_2048', keyUsage: 'ENCRYPT_DECRYPT' }),
    await owner.createKey({ mode: 'open', origin: 'external' }),
    await owner.createKey({ mode: 'open' }),
  ]
  const ids = made.map(({ keyId }) => keyId)
  const last = ids.at(-1) ?? ''
  await owner.disableKey(last)
  return ids
}

const garbage: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.integer({ min: 0, max: 20_000 }).map(length => 'A'.repeat(length)),
  fc.constantFrom(Number.MAX_VALUE, -0, 1e-7, 2 ** 53, '__proto__', '', null, '\u0000', '\ud800'),
)

/** Values that a schema allows, or nearly; of members with well-known values mostly those. */
function valuesOf(schema: TSchema, name = ''): fc.Arbitrary<unknown> {
  const values = known[name]
  if (values !== undefined) return fc.constantFrom(...values)
  if (Array.isArray(schema['anyOf'])) {
    return fc.oneof(...schema['anyOf'].map((each: TSchema) => valuesOf(each)))
  }
  if (schema['const'] !== undefined) return fc.constant(schema['const'])
  switch (schema['type']) {
    case 'object':
      return objectsOf(schema)
    case 'array':
      return fc.array(valuesOf(schema['items']), { maxLength: 3 })
    case 'integer':
      return fc.integer({
        min: schema['minimum'] ?? -1000,
        max: Math.min(schema['maximum'] ?? 1000, 2 ** 31 - 1),
      })
    case 'string':
      return schema['pattern'] === undefined
        ? fc.string({ maxLength: 60 })
        : fc.stringMatching(new RegExp(schema['pattern']), { size: 'small' })
    case 'null':
      return fc.constant(null)
    default:
      return garbage
  }
}

function objectsOf(schema: TSchema): fc.Arbitrary<unknown> {
  const properties: Record<string, TSchema> = schema['properties'] ?? {}
  const [pattern] = Object.entries<TSchema>(schema['patternProperties'] ?? {})
  if (pattern !== undefined) {
    const names = fc.stringMatching(new RegExp(pattern[0]), { size: 'small' })
    return fc.dictionary(names, valuesOf(pattern[1]), { maxKeys: 3 })
  }
  const required: readonly string[] = schema['required'] ?? []
  const members = Object.entries(properties).map(([name, member]) => {
    const spoilt = { weight: 1, arbitrary: garbage }
    const left = { weight: required.includes(name) ? 1 : 8, arbitrary: fc.constant(undefined) }
    return [name, fc.oneof({ weight: 18, arbitrary: valuesOf(member, name) }, spoilt, left)]
  })
  const more = fc.oneof(
    { weight: 12, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: fc.dictionary(fc.string(), garbage, { maxKeys: 1 }) },
  )
  const all: fc.Arbitrary<object> = fc.record(Object.fromEntries(members))
  return fc.tuple(all, more).map(([body, extra]) => ({ ...body, ...extra }))
}

/** A body as text, now and then with its first member twice. */
function textsOf(schema: TSchema): fc.Arbitrary<string> {
  return fc.tuple(valuesOf(schema), fc.integer({ min: 0, max: 9 })).map(([body, chance]) => {
    const text = JSON.stringify(body) ?? 'null'
    const [name] = Object.keys(Object(body))
    if (chance > 0 || name === undefined || !text.startsWith('{')) return text
    return `{${JSON.stringify(name)}:1,${text.slice(1)}`
  })
}

function pathsOf({ parameters = {}, path, query = {} }: Operation): fc.Arbitrary<string> {
  const inPath = Object.entries(parameters).map(([name, schema]) => {
    const isKey = name === 'id' && path.startsWith('/v1/keys/')
    const usual = isKey ? fc.constantFrom(...keyNames) : valuesOf(schema, name)
    const spoilt = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 600 })
    const value = fc.oneof({ weight: 20, arbitrary: usual }, { weight: 1, arbitrary: spoilt })
    return value.map(text => [`:${name}`, encodeURIComponent(String(text))] as const)
  })
  const asked = Object.entries(query).map(([name, schema]) =>
    fc
      .oneof(valuesOf(schema), fc.string({ maxLength: 40 }), fc.constant(undefined))
      .map(value => (value === undefined ? '' : `${name}=${encodeURIComponent(String(value))}`)),
  )
  return fc.tuple(fc.tuple(...inPath), fc.tuple(...asked)).map(([values, pairs]) => {
    const filled = values.reduce((text, [name, value]) => text.replace(name, value), path)
    return pairs.length === 0 ? filled : `${filled}?${pairs.filter(Boolean).join('&')}`
  })
}

/** A 200, or a refusal whose code is one of the protocol's and fits its status. */
function isCoded(operation: Operation, status: number, text: string): void {
  if (status === 200) return
  const { code, message, reasons } = JSON.parse(text)
  expect(isKmsErrorCode(code) ? KMS_STATUS[code] : code, `${operation.id}: ${text}`).toBe(status)
  expect(status, `${operation.id}: ${text}`).toBeLessThan(500)
  expect(typeof message).toBe('string')
  expect(Array.isArray(reasons)).toBe(true)
}

const crashes = () => log.filter(line => line.includes('"event":"failed"'))

/** Making key pairs, and the one token of enrolment, set these limits. */
const FEWER: Readonly<Record<string, number>> = { GetParametersForImport: 10, CreateKey: 20 }

/** Those that use keys first: others disable and delete them. Then those that need the token of now. */
const IN_ORDER = [
  ...OPERATIONS.filter(({ tag }) => tag === 'data'),
  ...OPERATIONS.filter(({ tag, id }) => tag !== 'data' && id !== 'RotateOperatorToken'),
  ...OPERATIONS.filter(({ id }) => id === 'RotateOperatorToken'),
]

describe('whatever comes in', () => {
  it.each(IN_ORDER.map(operation => [operation.id, operation] as const))(
    '%s gives a coded answer',
    { timeout: 300_000 },
    async (id, operation) => {
      const { access, method, request } = operation
      const bodies = request === undefined ? fc.constant(undefined) : textsOf(request)
      const seen = new Set<string>()
      const property = fc.asyncProperty(
        pathsOf(operation),
        fc.oneof(
          { weight: 9, arbitrary: bodies },
          { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
        ),
        async (path, body) => {
          const sent = method === 'GET' ? undefined : body
          const { status, text } = await rawCall(world.kms.pin, {
            ...{ method, path, body: sent },
            credential: { account: credential, operator: operatorToken }[String(access)],
          })
          isCoded(operation, status, text)
          if (status === 200) for (const secret of secretsIn(JSON.parse(text))) given.add(secret)
          seen.add(status === 200 ? 'done' : JSON.parse(text).code)
          expect(crashes()).toEqual([])
        },
      )
      const numRuns = Math.min(RUNS, FEWER[id] ?? RUNS)
      await fc.assert(property, { numRuns })
      // They get to the work itself; a signed message that gets there is for attacks.test.ts to make.
      if (request === requests.signed) return
      const reached = () => [...seen].some(code => code !== 'MALFORMED')
      // Where many members must be right at once, few bodies are.
      for (let more = 0; more < 20 && !reached(); more++) await fc.assert(property, { numRuns })
      expect([...seen]).toSatisfy(reached)
    },
  )

  it('is in no line of the log, nor in the audit log', async () => {
    const rows = await world.client(credential).audit()
    const all = [...log, JSON.stringify(rows)].join('\n')
    expect(log.length).toBeGreaterThan(OPERATIONS.length * 20)
    const secrets = [SECRET, SECRET.slice(0, 40), 'secret-in-a-body', credential, operatorToken]
    for (const secret of secrets) expect(all).not.toContain(secret)
    expect(given.size).toBeGreaterThan(3)
    expectNoSecret(log, [...secrets, ...given], world.kms.pin.kmsId)
  })
})
