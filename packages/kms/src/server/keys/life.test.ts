import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { newDatasetId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wrapForImport } from '../../client/import-material.ts'
import type { KmsClient } from '../../client/kms-client.ts'
import { APPRAISAL, allow, refused, Scene, sealPart, World } from '../flow.test.support.ts'
import { startKms } from '../start-kms.ts'

const DAY_MS = 24 * 60 * 60 * 1000

let world: World
let owner: KmsClient
let stranger: KmsClient

beforeAll(async () => {
  world = await World.start({ keyUpkeepSeconds: 0.1 })
  owner = await world.enrol()
  stranger = await world.enrol()
})

afterAll(() => world.stop())

/** Waits until a key is as wanted: the service's own rounds do the work. */
async function until(keyId: string, wanted: object): Promise<void> {
  await expect.poll(() => owner.describeKey(keyId), { timeout: 10_000 }).toMatchObject(wanted)
}

async function later<T>(days: number, work: () => Promise<T>): Promise<T> {
  world.clock.skewMs += days * DAY_MS
  try {
    return await work()
  } finally {
    world.clock.skewMs = 0
  }
}

describe('a key', () => {
  it('is described, tagged and noted on, and listed in pages', async () => {
    const account = await world.enrol()
    const made = await account.createKey({ alias: 'first', tags: { team: 'a' }, description: 'x' })
    expect(made).toMatchObject({
      mode: 'attested-only',
      state: 'enabled',
      keySpec: 'SYMMETRIC_DEFAULT',
      keyUsage: 'ENCRYPT_DECRYPT',
      currentVersion: 1,
      aliases: ['first'],
      tags: { team: 'a' },
      description: 'x',
      rotation: null,
      deletionAt: null,
    })
    const { keyId } = made
    expect(await account.tagKey(keyId, { team: 'b', cost: '7' })).toMatchObject({
      tags: { team: 'b', cost: '7' },
    })
    expect((await account.untagKey(keyId, ['team', 'absent'])).tags).toEqual({ cost: '7' })
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`tag ${n}`, '']))
    await refused(account.tagKey(keyId, many), 'LIMIT')
    expect((await account.updateKeyDescription(keyId, '')).description).toBe('')
    expect(await account.describeKey('alias/first')).toMatchObject({ keyId })
    for (let n = 0; n < 4; n++) await account.createKey({ mode: 'open' })
    expect(await account.listKeys()).toHaveLength(5)
    await refused(stranger.describeKey(keyId), 'NOT_OWNER')
    await refused(stranger.tagKey(keyId, {}), 'NOT_OWNER')
    await refused(account.describeKey('00000000-0000-4000-8000-000000000000'), 'NOT_FOUND')
  })
})

describe('an alias', () => {
  it('names one key of an account, and is the account’s own', async () => {
    const [one, two] = [
      await owner.createKey({ mode: 'open' }),
      await owner.createKey({ mode: 'open' }),
    ]
    await owner.createAlias('shared name/1', one.keyId)
    await refused(owner.createAlias('shared name/1', two.keyId), 'ALIAS_TAKEN')
    await refused(owner.createKey({ alias: 'shared name/1' }), 'ALIAS_TAKEN')
    const theirs = await stranger.createKey({ mode: 'open', alias: 'shared name/1' })
    await refused(owner.createAlias('theirs', theirs.keyId), 'NOT_OWNER')
    const { ciphertext, keyId } = await owner.encrypt('alias/shared name/1', Uint8Array.of(1))
    expect(keyId).toBe(one.keyId)
    await owner.updateAlias('shared name/1', two.keyId)
    expect((await owner.encrypt('alias/shared name/1', Uint8Array.of(1))).keyId).toBe(two.keyId)
    // Moving it moves nothing that was encrypted.
    await refused(owner.decrypt(ciphertext, { key: 'alias/shared name/1' }), 'CIPHERTEXT_INVALID')
    expect(await owner.decrypt(ciphertext)).toEqual(Uint8Array.of(1))
    expect(await owner.listAliases()).toMatchObject([{ alias: 'shared name/1', keyId: two.keyId }])
    await owner.deleteAlias('shared name/1')
    await refused(owner.encrypt('alias/shared name/1', Uint8Array.of(1)), 'NOT_FOUND')
    await refused(owner.deleteAlias('shared name/1'), 'NOT_FOUND')
  })

  it('looks like no key id, and is taken by no policy, nor by what changes a key', async () => {
    const { keyId } = await owner.createKey({})
    await refused(owner.createAlias(keyId, keyId), 'MALFORMED')
    await refused(owner.createAlias(keyId.toUpperCase(), keyId), 'MALFORMED')
    await owner.createAlias('p', keyId)
    const policy = {
      keyId: 'alias/p',
      measurement: 'a'.repeat(64),
      jobDigest: 'b'.repeat(64),
      tees: ['sim' as const],
      tcbStatuses: ['UpToDate' as const],
    }
    for (const named of ['alias/p', 'p', 'alias%2Fp']) {
      await refused(owner.addPolicy({ ...policy, keyId: named }), 'MALFORMED')
    }
    await refused(owner.disableKey('alias%2Fp'), 'MALFORMED')
    await refused(owner.rotateKey('p'), 'MALFORMED')
    await refused(owner.createAlias('q', 'alias/p'), 'MALFORMED')
    await owner.addPolicy({ ...policy, keyId })
  })
})

describe('rotation by itself', () => {
  it('adds a version when its time has come, and again a period later', async () => {
    const { keyId } = await owner.createKey({ mode: 'open' })
    const planned = await owner.enableKeyRotation(keyId, 90)
    expect(planned.rotation?.periodDays).toBe(90)
    await later(89, async () => {
      await new Promise(resolve => setTimeout(resolve, 400))
      expect((await owner.describeKey(keyId)).currentVersion).toBe(1)
    })
    await later(91, () => until(keyId, { currentVersion: 2 }))
    await later(180, async () => {
      await new Promise(resolve => setTimeout(resolve, 400))
      expect((await owner.describeKey(keyId)).currentVersion).toBe(2)
    })
    await later(182, () => until(keyId, { currentVersion: 3 }))
    const rows = (await owner.audit()).filter(({ entry }) => entry['keyId'] === keyId)
    const rotations = rows.filter(({ entry }) => entry['action'] === 'rotate-key')
    expect(rotations.map(({ entry }) => [entry['actor'], entry['version']])).toEqual([
      ['kms', 2],
      ['kms', 3],
    ])
    const { rotation } = await owner.disableKeyRotation(keyId)
    expect(rotation).toBeNull()
    await later(900, async () => {
      await new Promise(resolve => setTimeout(resolve, 400))
      expect((await owner.describeKey(keyId)).currentVersion).toBe(3)
    })
  })

  it('waits for a disabled key to be enabled', async () => {
    const { keyId } = await owner.createKey({ mode: 'open' })
    await owner.enableKeyRotation(keyId, 1)
    await owner.disableKey(keyId)
    await later(2, async () => {
      await new Promise(resolve => setTimeout(resolve, 400))
      expect((await owner.describeKey(keyId)).currentVersion).toBe(1)
      await owner.enableKey(keyId)
      await until(keyId, { currentVersion: 2 })
    })
  })
})

describe('deletion', () => {
  it('waits, can be cancelled, and refuses every use meanwhile', async () => {
    const scene = await Scene.make(world, owner)
    const session = await scene.attest()
    const { keyId } = scene
    await refused(owner.scheduleKeyDeletion(keyId, 6), 'MALFORMED')
    await refused(owner.scheduleKeyDeletion(keyId, 31), 'MALFORMED')
    const planned = await owner.scheduleKeyDeletion(keyId)
    const days = (Date.parse(planned.deletionAt ?? '') - Date.now()) / DAY_MS
    expect(days).toBeGreaterThan(29.9)
    expect(days).toBeLessThan(30.1)
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', ['KEY_STATE', 'KEY_STATE'])
    await refused(sealPart(owner, keyId, newDatasetId()), 'KEY_STATE')
    await refused(owner.enableKey(keyId), 'KEY_STATE')
    await refused(owner.rotateKey(keyId), 'KEY_STATE')
    await refused(owner.createAlias('late', keyId), 'KEY_STATE')
    await refused(owner.scheduleKeyDeletion(keyId), 'KEY_STATE')
    expect(await owner.cancelKeyDeletion(keyId)).toMatchObject({
      state: 'disabled',
      deletionAt: null,
    })
    await refused(owner.cancelKeyDeletion(keyId), 'KEY_DISABLED')
    await owner.enableKey(keyId)
    await (await scene.attest()).release(scene.parts())
  })

  it('leaves nothing of the material', async () => {
    const { keyId } = await owner.createKey({ mode: 'open', alias: 'doomed', tags: { a: 'b' } })
    await owner.rotateKey(keyId)
    const { ciphertext } = await owner.encrypt(keyId, Uint8Array.of(1))
    const select = `select wrapped from key_versions where key_id = '${keyId}'`
    const wrapped = world.database.read(select).map(row => String(row['wrapped']))
    expect(wrapped).toHaveLength(2)
    await owner.scheduleKeyDeletion(keyId, 7)
    await later(6.9, async () => {
      await new Promise(resolve => setTimeout(resolve, 400))
      expect((await owner.describeKey(keyId)).state).toBe('pending-deletion')
    })
    await later(7.1, () => until(keyId, { state: 'deleted' }))
    expect(world.database.read(select)).toEqual([])
    await refused(owner.decrypt(ciphertext), 'KEY_STATE')
    await refused(owner.cancelKeyDeletion(keyId), 'KEY_STATE')
    await refused(owner.tagKey(keyId, {}), 'KEY_STATE')
    await refused(owner.describeKey('alias/doomed'), 'NOT_FOUND')
    expect((await owner.listKeys()).map(key => key.keyId)).not.toContain(keyId)
    expect(await owner.describeKey(keyId)).toMatchObject({ tags: {}, aliases: [] })
    const row = (await owner.audit()).find(({ entry }) => entry['action'] === 'delete-key')
    expect(row?.entry).toMatchObject({ actor: 'kms', keyId })
  })

  it('is not brought about by an instant that SQL moved', async () => {
    const other = await World.start()
    try {
      const account = await other.enrol()
      const { keyId } = await account.createKey({ mode: 'open' })
      await account.scheduleKeyDeletion(keyId, 30)
      expect(other.database.edit('update keys set deletion_at = 1')).toBe(1)
      await refused(account.describeKey(keyId), 'INTEGRITY')
      other.database.edit('update keys set deletion_at = null, next_rotation_at = null')
      await refused(account.describeKey(keyId), 'INTEGRITY')
      expect(other.database.read('select * from key_versions')).toHaveLength(1)
    } finally {
      await other.stop()
    }
  })
})

describe('bring your own key', () => {
  it('takes material in once, wrapped to a key of its own, on a token of its own', async () => {
    const material = new Uint8Array(randomBytes(32))
    const made = await owner.createKey({ mode: 'open', origin: 'external' })
    expect(made).toMatchObject({ state: 'pending-import', origin: 'external', currentVersion: 0 })
    const { keyId } = made
    await refused(owner.encrypt(keyId, Uint8Array.of(1)), 'KEY_STATE')
    await refused(owner.enableKey(keyId), 'KEY_STATE')
    const first = await owner.getParametersForImport(keyId, { wrappingKeySpec: 'RSA_2048' })
    const newest = await owner.getParametersForImport(keyId, {
      wrappingAlgorithm: 'RSA_AES_KEY_WRAP_SHA_256',
    })
    expect(newest.publicKey).not.toBe(first.publicKey)
    const wrapped = wrapForImport(newest, material)
    const importing = (token: string, bytes = wrapped, of = keyId) =>
      owner.importKeyMaterial(of, token, bytes)
    await refused(importing(first.importToken), 'IMPORT_TOKEN')
    const other = await owner.createKey({ mode: 'open', origin: 'external' })
    await refused(importing(newest.importToken, wrapped, other.keyId), 'IMPORT_TOKEN')
    const theirs = await owner.getParametersForImport(other.keyId)
    await refused(importing(theirs.importToken), 'IMPORT_TOKEN')
    for (let at = 0; at < newest.importToken.length; at += 7) {
      const altered = Buffer.from(newest.importToken, 'base64url')
      altered[at % altered.length] = (altered[at % altered.length] ?? 0) ^ 1
      await refused(importing(altered.toString('base64url')), 'IMPORT_TOKEN')
    }
    await refused(importing(newest.importToken, wrapForImport(first, material)), 'IMPORT_MATERIAL')
    await refused(importing(newest.importToken, wrapped.subarray(0, 300)), 'IMPORT_MATERIAL')
    const short = wrapForImport(newest, material.subarray(1))
    await refused(importing(newest.importToken, short), 'IMPORT_MATERIAL')
    await refused(stranger.importKeyMaterial(keyId, newest.importToken, wrapped), 'NOT_OWNER')
    await later(1.01, () => refused(importing(newest.importToken), 'IMPORT_TOKEN'))
    expect(await importing(newest.importToken)).toMatchObject({
      state: 'enabled',
      currentVersion: 1,
    })
    await refused(importing(newest.importToken), 'KEY_STATE')
    await refused(owner.getParametersForImport(keyId), 'KEY_STATE')
    const { ciphertext } = await owner.encrypt(keyId, Uint8Array.of(7))
    expect(await owner.decrypt(ciphertext)).toEqual(Uint8Array.of(7))
    await refused(owner.rotateKey(keyId), 'KEY_USAGE')
    // The same material elsewhere is the same key to nobody: ids are bound in.
    await owner.importKey(other.keyId, material)
    await refused(owner.decrypt(ciphertext, { key: other.keyId }), 'CIPHERTEXT_INVALID')
  })

  it('takes private keys of RSA and EC, and no others', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
    const wanted = { mode: 'open', origin: 'external', keySpec: 'ECC_NIST_P256' } as const
    const { keyId } = await owner.createKey(wanted)
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
    const wrong = p384.export({ type: 'pkcs8', format: 'der' })
    await refused(owner.importKey(keyId, wrong), 'IMPORT_MATERIAL')
    await refused(owner.importKey(keyId, new Uint8Array(40)), 'IMPORT_MATERIAL')
    await owner.importKey(keyId, pkcs8)
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    expect((await owner.getPublicKey(keyId)).publicKey).toBe(pem)
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const usage = { keySpec: 'RSA_2048', keyUsage: 'SIGN_VERIFY' } as const
    const external = await owner.createKey({ mode: 'open', origin: 'external', ...usage })
    await owner.importKey(external.keyId, rsa.export({ type: 'pkcs8', format: 'der' }))
    const how = { signingAlgorithm: 'RSASSA_PSS_SHA_256' } as const
    const signature = await owner.sign(external.keyId, Uint8Array.of(1), how)
    expect(await owner.verify(external.keyId, Uint8Array.of(1), signature, how)).toBe(true)
  })

  it('serves attested-only keys: what was brought is released on evidence alone', async () => {
    const made = await owner.createKey({ origin: 'external' })
    await owner.importKey(made.keyId, new Uint8Array(randomBytes(32)))
    const scene = await Scene.make(world, owner)
    const part = await sealPart(owner, made.keyId, scene.inputId)
    await refused(owner.generateDataKey(made.keyId), 'KEY_ATTESTED_ONLY')
    await allow(owner, made.keyId, scene.job)
    const session = await scene.attest()
    const released = await session.release({
      inputs: new Map([[scene.inputId, [part]]]),
      outputs: new Map(),
    })
    expect(released.inputs.get(part.fileId)?.exposeBytes()).toEqual(part.dek.exposeBytes())
  })
})

describe('after a restart', () => {
  it('aliases, kinds, plans and imported material are as they were', async () => {
    const own = await World.start()
    const account = await own.enrol()
    const { keyId } = await account.createKey({ mode: 'open', alias: 'kept', tags: { a: '1' } })
    await account.enableKeyRotation(keyId, 30)
    const usage = { keySpec: 'ECC_NIST_P256', keyUsage: 'SIGN_VERIFY' } as const
    const signing = await account.createKey({ mode: 'open', ...usage })
    const external = await account.createKey({ mode: 'open', origin: 'external' })
    await account.importKey(external.keyId, new Uint8Array(32).fill(3))
    const before = await account.listKeys()
    const { ciphertext } = await account.encrypt(external.keyId, Uint8Array.of(5))
    await own.kms.close()
    const port = Number(new URL(own.kms.pin.url).port)
    const dataDir = join(own.folder, 'kms')
    const again = await startKms({
      ...{ dataDir, port, rootKey: { kind: 'file' }, roots: [own.platform.trustRoot] },
      ...{ collateralDir: own.folder, appraisal: APPRAISAL },
      ...('postgres' in own.database.options ? own.database.options : {}),
    })
    try {
      expect(await account.listKeys()).toEqual(before)
      expect(await account.decrypt(ciphertext)).toEqual(Uint8Array.of(5))
      const how = { signingAlgorithm: 'ECDSA_SHA_256' } as const
      const signature = await account.sign(signing.keyId, Uint8Array.of(1), how)
      expect(await account.verify(signing.keyId, Uint8Array.of(1), signature, how)).toBe(true)
    } finally {
      await again.close()
      await own.stop().catch(() => undefined)
    }
  })
})
