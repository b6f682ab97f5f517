import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { World } from '../flow.test.support.ts'
import { expectNoSecret, secretsIn } from '../http/log-lines.test.fixture.ts'
import { ACTIONS } from './actions/index.ts'
import { EhsmTestClient, exchange } from './client.test.support.ts'
import { signatureOf } from './wire/sign.ts'

const RUNS = process.env['SLOW'] === '1' ? 2000 : 40
const SECRET = 'c2VjcmV0LWluLXBheWxvYWQ='

const log: string[] = []
/** Secrets that answers gave. */
const given = new Set<string>()
let world: World
let client: EhsmTestClient
let known: Readonly<Record<string, readonly unknown[]>>

beforeAll(async () => {
  world = await World.start({
    ehsm: { openEnrolment: true, openKeys: true },
    logTo: line => log.push(line),
  })
  client = await EhsmTestClient.enroll(world.kms.pin)
  const keys = ['EH_AES_GCM_256', 'EH_SM4_CBC', 'EH_SM2', 'EH_EC_P256', 'EH_RSA_2048']
  const keyids = await Promise.all([
    ...keys.map(spec => client.createKey(spec)),
    client.createKey('EH_AES_GCM_128', { origin: 'EH_EXTERNAL_KEY' }),
    client.createKey('EH_SM2', { keyusage: 'EH_KEYUSAGE_SIGN_VERIFY' }),
    client.createKey('EH_EC_P521', { keyusage: 'EH_KEYUSAGE_SIGN_VERIFY' }),
    client.createKey('EH_RSA_2048', { keyusage: 'EH_KEYUSAGE_SIGN_VERIFY' }),
  ])
  const { envelope } = await client.call('Encrypt', { keyid: keyids[0], plaintext: SECRET })
  known = {
    keyid: keyids,
    ukeyid: keyids,
    encryptionKeyId: keyids,
    policyId: ['00000000-0000-4000-8000-000000000000'],
    // Not the long RSA keys: making them takes longer than all the rest.
    keyspec: ['EH_AES_GCM_192', 'EH_SM2', 'EH_EC_P224', 'EH_HMAC', 'EH_RSA_2048', 'EH_RSA_2048'],
    origin: ['EH_INTERNAL_KEY', 'EH_EXTERNAL_KEY'],
    keyusage: ['EH_KEYUSAGE_ENCRYPT_DECRYPT', 'EH_KEYUSAGE_SIGN_VERIFY'],
    padding_mode: ['EH_PAD_NONE', 'EH_RSA_PKCS1', 'EH_RSA_PKCS1_PSS', 'EH_RSA_PKCS1_OAEP'],
    digest_mode: ['EH_SHA_224', 'EH_SHA_512', 'EH_SM3'],
    message_type: ['EH_RAW', 'EH_DIGEST'],
    keylen: [1, 32, 1024, 1025, 0],
    ciphertext: [envelope.result['ciphertext']],
    olddatakey_base: [envelope.result['ciphertext']],
    secretName: ['one', 'two', '__proto__', 'constructor'],
    versionId: [1, 2, 1e300],
    recoveryPeriod: [1, 365],
    forceDelete: ['true', 'false'],
    rotationInterval: ['6h', '1s', '9999d'],
    mr_enclave: ['a'.repeat(64)],
    mr_signer: ['b'.repeat(64)],
    plaintext: [SECRET],
    secretData: [SECRET],
    description: ['what it is'],
    message: [SECRET],
    signature: [SECRET],
    key_material: [SECRET],
    importToken: [Buffer.from('{"keyid":"x","timestamp":1,"hmac":"y"}').toString('base64')],
    challenge: [SECRET],
    quote: [SECRET],
    nonce: [SECRET],
    aad: ['test'],
  }
})

afterAll(() => world.stop())

const garbage = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.base64String({ maxLength: 200 }),
  fc.integer({ min: 0, max: 9000 }).map(length => 'A'.repeat(length)),
  fc.constantFrom(Number.MAX_VALUE, -0, 1e-7, '__proto__', '', null),
)

/** Payloads near to what an action reads: each field well-known, and now and then left out or anything. */
function payloads(): fc.Arbitrary<Record<string, unknown>> {
  const fields = Object.fromEntries(
    Object.entries(known).map(([name, values]) => [
      name,
      fc.oneof(
        { weight: 18, arbitrary: fc.constantFrom(...values) },
        { weight: 1, arbitrary: garbage },
        { weight: 1, arbitrary: fc.constant(undefined) },
      ),
    ]),
  )
  const more = fc.dictionary(fc.string(), garbage, { maxKeys: 1 })
  return fc.tuple(more, fc.record(fields)).map(([extra, payload]) => ({ ...extra, ...payload }))
}

function isCoded(status: number, envelope: unknown): void {
  expect(status).toBe(200)
  const { code, message = '', result } = Object(envelope)
  expect([200, 400, 404, 500]).toContain(code)
  expect(typeof message).toBe('string')
  expect(result).toBeTypeOf('object')
  expect(result).not.toBeNull()
}

/** Failures that are not refusals: what nobody thought of. */
const crashes = () => log.filter(line => line.includes('"event":"failed"'))

describe('whatever comes in', () => {
  it.each([...ACTIONS.keys()])('%s gives a coded answer', { timeout: 300_000 }, async action => {
    let past = 0
    const property = fc.asyncProperty(payloads(), async payload => {
      const { envelope, status } = await client.call(action, payload)
      isCoded(status, envelope)
      for (const secret of secretsIn(envelope.result)) given.add(secret)
      if (!/^(Parameter invalid|Missing required)/.test(envelope.message ?? '')) past++
      expect(crashes()).toEqual([])
    })
    // Accounts keep their keys: the actions that take all away go to an account of their own.
    if (action === 'DeleteAllKey') client = await EhsmTestClient.enroll(world.kms.pin)
    await fc.assert(property, { numRuns: RUNS })
    // They get to the work itself.
    expect(past).toBeGreaterThan(0)
  })

  it('in a text that no database holds as it is, is refused', async () => {
    for (const text of ['a\u0000', '\ud800', 'x\udc00y']) {
      const secret = { secretName: `name ${text}`, secretData: 'x' }
      const described = { secretName: 'name', secretData: 'x', description: text }
      for (const payload of [secret, described]) {
        const { envelope } = await client.call('CreateSecret', payload)
        expect(envelope).toMatchObject({ code: 400, message: expect.stringMatching(/^Parameter/) })
      }
    }
  })

  it('as members of a request gives a coded answer', { timeout: 120_000 }, async () => {
    const members = fc.record(
      {
        appid: fc.oneof(fc.constant(client.appId), garbage),
        timestamp: fc.oneof(fc.constant(String(Date.now())), garbage),
        nonce: garbage,
        payload: garbage,
        sign: fc.oneof(fc.constant('A'.repeat(44)), garbage),
      },
      { requiredKeys: [] },
    )
    const property = fc.asyncProperty(members, fc.string(), async (request, action) => {
      const signed = { ...request, sign: request.sign ?? sign(request) }
      const body = JSON.stringify(signed)
      const { envelope, status } = await exchange(world.kms.pin, 'POST', action, body)
      isCoded(status, envelope)
      expect(crashes()).toEqual([])
    })
    await fc.assert(property, { numRuns: RUNS * 10 })
  })

  it('as bytes gives a coded answer', { timeout: 120_000 }, async () => {
    const property = fc.asyncProperty(fc.string({ unit: 'binary' }), async body => {
      const { envelope, status } = await exchange(world.kms.pin, 'POST', 'Encrypt', body)
      isCoded(status, envelope)
      expect(crashes()).toEqual([])
    })
    await fc.assert(property, { numRuns: RUNS * 3 })
    for (const body of [
      '['.repeat(50_000),
      '{"a":'.repeat(10_000),
      '{"__proto__":{"appid":"x"}}',
    ]) {
      const { envelope, status } = await exchange(world.kms.pin, 'POST', 'Encrypt', body)
      isCoded(status, envelope)
    }
    const deep = `${'{"a":'.repeat(15_000)}1${'}'.repeat(15_000)}`
    const body = `{"appid":"x","timestamp":"1","sign":"x","payload":${deep}}`
    const { envelope } = await exchange(world.kms.pin, 'POST', 'Encrypt', body)
    expect(envelope).toEqual({ code: 400, message: 'param type error', result: {} })
    expect(crashes()).toEqual([])
  })

  it('is in no line of the log', () => {
    const all = log.join('\n')
    expect(log.length).toBeGreaterThan(RUNS * ACTIONS.size)
    const secrets = [SECRET, 'secret-in-payload', client.apiKey]
    for (const secret of secrets) expect(all).not.toContain(secret)
    expect(given.size).toBeGreaterThan(0)
    expectNoSecret(log, [...secrets, ...given], world.kms.pin.kmsId)
  })
})

function sign(members: object): string {
  try {
    return signatureOf(Buffer.from(client.apiKey), members)
  } catch {
    return 'x'
  }
}
