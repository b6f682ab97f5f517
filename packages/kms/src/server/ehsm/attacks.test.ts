import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { operatorOf } from '../accounts-flow.test.support.ts'
import { refused, World } from '../flow.test.support.ts'
import { ACTIONS } from './actions/index.ts'
import { EhsmTestClient, exchange } from './client.test.support.ts'

const PLAIN = Buffer.from('plain').toString('base64')

const log: string[] = []
let open: World
let closed: World

beforeAll(async () => {
  open = await World.start({
    ehsm: { openEnrolment: true, openKeys: true },
    logTo: line => log.push(line),
  })
  closed = await World.start({ logTo: line => log.push(line) })
})

afterAll(async () => {
  await open.stop()
  await closed.stop()
})

const tokenOf = (world: World) => readFile(join(world.folder, 'kms', 'enrolment-token'), 'utf8')

describe('without its switches, the interface', () => {
  it('enrols whoever has the enrolment token, once, and no one else', async () => {
    for (const headers of [{}, { authorization: `Bearer ${'A'.repeat(43)}` }]) {
      const { envelope } = await exchange(closed.kms.pin, 'GET', 'Enroll', undefined, headers)
      expect([envelope.code, envelope.result]).toEqual([400, {}])
      expect(envelope.message).toContain('--ehsm-open-enrolment')
    }
    const token = await tokenOf(closed)
    await EhsmTestClient.enroll(closed.kms.pin, token)
    await expect(EhsmTestClient.enroll(closed.kms.pin, token)).rejects.toThrow('enrolment token')
  })

  it('makes no key that an API key alone gives the use of, and audits who asks for one', async () => {
    const client = await EhsmTestClient.enroll(closed.kms.pin, await tokenOf(closed))
    const payload = { keyspec: 'EH_AES_GCM_128', origin: 'EH_INTERNAL_KEY' }
    const { envelope } = await client.call('CreateKey', payload)
    expect(envelope.code).toBe(400)
    expect(envelope.message).toContain('--ehsm-open-keys')
    expect((await client.call('ListKey')).envelope.result).toEqual({ list: [] })
    const rows = closed.database.read('select entry from audit_leaves')
    const entries = rows.map(({ entry }) => JSON.parse(String(entry)))
    expect(entries).toContainEqual(
      expect.objectContaining({
        actor: `ehsm:${client.appId}`,
        action: 'ehsm.CreateKey',
        outcome: 'denied',
        reasons: [expect.objectContaining({ code: 'OPEN_KEYS_NOT_ALLOWED' })],
      }),
    )
  })

  it('says of each switch that is on what it weakens', () => {
    const weakened = log.map(line => JSON.parse(line)).filter(({ event }) => event === 'weakened')
    expect([...new Set(weakened.map(entry => entry.switch))].sort()).toEqual([
      'ehsm-open-enrolment',
      'ehsm-open-keys',
      'no-account-limit',
      'no-address-limit',
      'root-key-file',
      'simulated-platform',
    ])
    for (const { weakens } of weakened) expect(weakens).toMatch(/^[A-Z -]{10,}.*: /)
  })
})

describe('a key of the native interface', () => {
  it.each(['attested-only', 'open'] as const)('that is %s is found by no action', async mode => {
    const owner = await open.enrol()
    const { keyId } = await owner.createKey({ mode })
    const client = await EhsmTestClient.enroll(open.kms.pin)
    const own = await client.createKey('EH_AES_GCM_128')
    const { envelope: made } = await client.call('Encrypt', { keyid: own, plaintext: PLAIN })
    const payload = {
      keyid: keyId,
      ukeyid: keyId,
      plaintext: PLAIN,
      ciphertext: made.result['ciphertext'],
      olddatakey_base: made.result['ciphertext'],
      keylen: 16,
      keyspec: 'EH_RSA_2048',
      origin: 'EH_INTERNAL_KEY',
      padding_mode: 'EH_RSA_PKCS1',
      message: PLAIN,
      message_type: 'EH_RAW',
      digest_mode: 'EH_SHA_256',
      signature: PLAIN,
      key_material: PLAIN,
      importToken: PLAIN,
      secretName: 'name',
      secretData: 'data',
      encryptionKeyId: keyId,
      challenge: PLAIN,
      quote: PLAIN,
      nonce: PLAIN,
      policyId: keyId,
      mr_enclave: 'a'.repeat(64),
      mr_signer: 'b'.repeat(64),
    }
    for (const action of ACTIONS.keys()) {
      const { envelope, status } = await client.call(action, payload)
      expect(status).toBe(200)
      if (envelope.code === 200) {
        // None of these does anything with the key that is named.
        expect(NO_USE_OF_A_KEY).toContain(action)
      }
      expect(JSON.stringify(envelope.result)).not.toMatch(/plaintext|newdatakey|pubkey|signature/)
    }
    const { envelope } = await client.call('Encrypt', { keyid: keyId, plaintext: PLAIN })
    expect([envelope.code, envelope.message]).toEqual([400, 'keyid error'])
    const stored = { ukeyid: keyId, keyid: await client.createKey('EH_AES_GCM_128') }
    const dataKey = await client.call('GenerateDataKey', { keyid: stored.keyid, keylen: 32 })
    const olddatakey_base = dataKey.envelope.result['ciphertext']
    const exported = await client.call('ExportDataKey', { ...stored, olddatakey_base })
    expect(exported.envelope).toEqual({ code: 400, message: 'keyid error', result: {} })
    const [key] = (await owner.listKeys()).filter(listed => listed.keyId === keyId)
    expect(key).toMatchObject({ state: 'enabled', currentVersion: 1 })
    const rows = open.database.read('select entry from audit_leaves')
    expect(rows.map(({ entry }) => String(entry)).join('\n')).toContain('KEY_MODE')
  })

  it('and one of this interface are no use to each other’s accounts', async () => {
    const client = await EhsmTestClient.enroll(open.kms.pin)
    const keyid = await client.createKey('EH_AES_GCM_128')
    const owner = await open.enrol()
    await refused(owner.disableKey(keyid), 'NOT_FOUND')
    const credential = `${client.appId.replaceAll('-', '')}.${client.apiKey}${'A'.repeat(11)}`
    await refused(open.client(credential).listKeys(), 'UNAUTHENTICATED')
  })
})

/** Actions that succeed whatever key they are given, as they take none or take away none. */
const NO_USE_OF_A_KEY = [
  'CreateKey',
  'ListKey',
  'DeleteKey',
  'DeleteAllKey',
  'RotateApiKey',
  'UploadQuotePolicy',
  'GetQuotePolicy',
  'ListSecretVersionIds',
  'ListSecrets',
  'DescribeSecret',
]

describe('the database behind the service’s back', () => {
  it.each([
    ['a key of another account', "update ehsm_keys set app_id = 'x' where key_id = ?"],
    ['another use', "update ehsm_keys set usage = 'sign-verify' where key_id = ?"],
    ['a key put back to use', "update ehsm_keys set state = 'enabled' where key_id = ?"],
    ['longer life', 'update ehsm_keys set expires_at = expires_at + 1 where key_id = ?'],
    ['material away', 'update ehsm_keys set wrapped = null where key_id = ?'],
    ['the key away', 'delete from ehsm_keys where key_id = ?'],
  ])('%s: refused', async (_what, statement) => {
    const world = await World.start({ ehsm: { openEnrolment: true, openKeys: true } })
    try {
      const client = await EhsmTestClient.enroll(world.kms.pin)
      const keyid = await client.createKey('EH_AES_GCM_128')
      await client.call('DisableKey', { keyid })
      expect(world.database.edit(statement.replace('?', `'${keyid}'`))).toBe(1)
      const { envelope } = await client.call('Encrypt', { keyid, plaintext: PLAIN })
      expect([envelope.code, envelope.message]).toEqual([400, 'database error'])
    } finally {
      await world.stop()
    }
  })
})

describe('an account', () => {
  const enrolled = async () => {
    const world = await World.start({ ehsm: { openEnrolment: true, openKeys: true } })
    onTestFinished(() => world.stop())
    const client = await EhsmTestClient.enroll(world.kms.pin)
    const { operator } = await operatorOf(world)
    return { world, client, operator }
  }
  const said = async (client: EhsmTestClient) => (await client.call('ListKey')).envelope

  it('that the operator disabled is refused until it is enabled, and only then told why', async () => {
    const { client, operator, world } = await enrolled()
    expect(await operator.ehsmAccounts()).toEqual([
      expect.objectContaining({ appId: client.appId, state: 'enabled', previousEndsAt: null }),
    ])
    await operator.setEhsmAccount(client.appId, 'disable')
    expect(await said(client)).toEqual({
      code: 400,
      message: 'the account is disabled',
      result: {},
    })
    const guessing = new EhsmTestClient(world.kms.pin, client.appId, 'A'.repeat(32))
    expect((await said(guessing)).message).toBe('sign error')
    await operator.setEhsmAccount(client.appId, 'enable')
    expect((await said(client)).code).toBe(200)
    await refused(operator.setEhsmAccount(randomUUID(), 'disable'), 'NOT_FOUND')
    const rows = world.database.read('select entry from audit_leaves')
    const entries = rows.map(({ entry }) => String(entry)).join('\n')
    for (const act of ['disable', 'enable']) expect(entries).toContain(`"${act}-ehsm-account"`)
  })

  it('that lost the answer with its new API key asks again, until that has signed', async () => {
    const { client, world } = await enrolled()
    const rotated = async (from: EhsmTestClient, overlap: number) => {
      const { envelope } = await from.call('RotateApiKey', { overlap })
      const key = String(envelope.result['apikey'])
      return { envelope, next: new EhsmTestClient(world.kms.pin, client.appId, key) }
    }
    const { next: lost } = await rotated(client, 0)
    const { next } = await rotated(client, 0)
    const rows = world.database.read('select entry from audit_leaves')
    const told = rows.map(({ entry }) => JSON.parse(String(entry)))
    const rotations = told.filter(({ action }) => action === 'ehsm.RotateApiKey')
    expect(rotations.map(({ isAskedAgain }) => isAskedAgain)).toEqual([false, true])
    // Nobody has that one, and the one before is for nothing but asking again.
    for (const gone of [lost, client]) expect((await said(gone)).message).toBe('sign error')
    expect((await said(next)).code).toBe(200)
    const late = await rotated(client, 60)
    expect(late.envelope).toEqual({ code: 400, message: 'sign error', result: {} })
    // Of many first uses at once each is one.
    const { next: last } = await rotated(next, 60)
    const uses = await Promise.all(Array.from({ length: 8 }, () => said(last)))
    expect(uses.map(({ code }) => code)).toEqual(uses.map(() => 200))
    const replaced = await rotated(next, 60)
    expect(replaced.envelope.message).toContain('sign with the present one')
  })

  it.each([
    ['asking again for another API key', 'is_unused = null'],
    ['enabled again', 'state = null'],
    ['given back an old API key', 'previous_ends_at = previous_ends_at + 1000000000'],
    ['under another’s API key', 'api_key = previous_api_key'],
  ])('%s behind the service’s back: refused', async (_what, change) => {
    const { client, operator, world } = await enrolled()
    const { result } = (await client.call('RotateApiKey', { overlap: 0 })).envelope
    await operator.setEhsmAccount(client.appId, 'disable')
    expect(world.database.edit(`update ehsm_accounts set ${change}`)).toBe(1)
    for (const apiKey of [client.apiKey, String(result['apikey'])]) {
      const envelope = await said(new EhsmTestClient(world.kms.pin, client.appId, apiKey))
      expect(envelope).toEqual({ code: 400, message: 'database error', result: {} })
    }
  })
})

describe('the log', () => {
  it('has each call and no secret', async () => {
    const client = await EhsmTestClient.enroll(open.kms.pin)
    const keyid = await client.createKey('EH_AES_GCM_256')
    const secret = Buffer.from('this must not be logged').toString('base64')
    const { envelope } = await client.call('Encrypt', { keyid, plaintext: secret })
    const { ciphertext } = envelope.result
    await client.call('Decrypt', { keyid, ciphertext })
    await client.call('Decrypt', { keyid, ciphertext, aad: secret })
    await client.call(secret, { keyid, ciphertext })
    const all = log.join('\n')
    expect(all).toContain('"action":"Decrypt","code":500')
    expect(all).toContain('"action":"unknown","code":404')
    for (const text of [secret, 'this must not be logged', client.apiKey, String(ciphertext)]) {
      expect(all).not.toContain(text)
    }
  })
})
