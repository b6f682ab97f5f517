import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { newDatasetId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { KmsClient } from '../../client/kms-client.ts'
import { encodePublicKey } from '../../protocol/public-key.ts'
import type { Scope } from '../../protocol/scopes.ts'
import { newMember, newTenant, operatorOf, WHOLE } from '../accounts-flow.test.support.ts'
import { allow, newKey, refused, Scene, sealPart, World } from '../flow.test.support.ts'

let world: World

beforeAll(async () => {
  world = await World.start({ auditBatchSeconds: 1 })
})

afterAll(() => world.stop())

const HOUR = 60 * 60

describe('a tenant', () => {
  it('is made by the operator, who sees none of its accounts and acts for none', async () => {
    const operator = await operatorOf(world)
    const { tenantId, administrator } = await newTenant(world, 'hospital')
    await refused(operator.operator.createTenant('a \ud800'), 'MALFORMED')
    const tenants = await operator.operator.tenants()
    expect(tenants.map(({ name }) => name)).toEqual(expect.arrayContaining(['default', 'hospital']))
    const { account } = await administrator.accounts.self()
    expect(account).toMatchObject({ tenantId, role: 'administrator', state: 'enabled' })
    for (const call of [
      () => operator.listKeys(),
      () => operator.accounts.list(),
      () => operator.accounts.credentials(account.accountId),
      () => operator.createKey({ mode: 'open' }),
      () => operator.audit(),
    ]) {
      await refused(call(), 'UNAUTHENTICATED', [])
    }
  })

  it('is made by nobody else', async () => {
    const { administrator } = await newTenant(world, 'alone')
    const audit = world.client(await readFile(join(world.folder, 'kms', 'audit-token'), 'utf8'))
    for (const client of [administrator, world.client(), audit, world.client('A'.repeat(43))]) {
      await refused(client.operator.createTenant('x'), 'UNAUTHENTICATED', [])
      await refused(client.operator.tenants(), 'UNAUTHENTICATED', [])
      const made = client.operator.createAdministrator('0'.repeat(32), { name: 'x' })
      await refused(made, 'UNAUTHENTICATED', [])
    }
  })

  it('sees nothing of another: every call on its accounts, keys, policies and data is refused', async () => {
    const theirs = await newTenant(world, 'theirs')
    const ours = await newTenant(world, 'ours')
    const victim = await newMember(world, theirs.administrator)
    const scene = await Scene.make(world, victim.client)
    const { keyId, part, inputId } = scene
    const [policy] = await victim.client.listPolicies()
    const { fileId, fixedDigestHex, slot, dek } = part
    const context = { datasetId: inputId, fileId, fixedDigestHex }
    const head = {
      version: 2,
      manifestDigest: 'a'.repeat(64),
      writerKey: encodePublicKey(newKey()),
    }
    const before = await scene.owner.getHead(inputId)
    const known = new Set([(await theirs.administrator.accounts.self()).account.accountId])
    for (const { accountId } of await theirs.administrator.accounts.list()) known.add(accountId)
    const { client } = await newMember(world, ours.administrator)
    for (const caller of [ours.administrator, client]) {
      const { accounts } = caller
      const { accountId } = victim
      const us = (await caller.accounts.self()).account.accountId
      const attempts: readonly (() => Promise<unknown>)[] = [
        () => accounts.disable(accountId),
        () => accounts.enable(accountId),
        () => accounts.credentials(accountId),
        () => accounts.revokeCredential(victim.credentialId, accountId),
        () => accounts.revokeCredential(victim.credentialId),
        () => accounts.rotateCredential(victim.credentialId, 0),
        () => accounts.grantKey(keyId, us, ['wrap']),
        () => accounts.ungrantKey(keyId, us),
        () => accounts.keyGrants(keyId),
        () => caller.wrapDek(keyId, dek, context),
        () => caller.unwrapDek(keyId, slot, context),
        () => caller.rotateKey(keyId),
        () => caller.rewrapHeader(keyId, new Uint8Array(4096)),
        () => caller.disableKey(keyId),
        () => caller.enableKey(keyId),
        () => allow(caller, keyId, scene.job),
        () => caller.removePolicy(policy?.policyId ?? ''),
        () => caller.getHead(inputId),
        () => caller.moveHead(inputId, before, head),
      ]
      for (const attempt of attempts) {
        await expect(attempt()).rejects.toMatchObject({
          code: expect.stringMatching(/^(NOT_FOUND|NOT_OWNER|NOT_ALLOWED)$/),
        })
      }
      expect(await caller.listKeys()).toEqual([])
      expect(await caller.listPolicies()).toEqual([])
      const seen = JSON.stringify([await caller.audit(), await accounts.credentials()])
      expect(seen).not.toContain('create-key')
    }
    const listed = await ours.administrator.accounts.list()
    expect(listed.filter(({ accountId }) => known.has(accountId))).toEqual([])
    expect(await victim.client.getHead(inputId)).toEqual(before)
    expect(await victim.client.listPolicies()).toHaveLength(1)
    await (await scene.attest()).release(scene.parts())
    // Whose keys were reached for is told who did.
    const denied = (await victim.client.audit()).filter(
      ({ entry }) => entry['outcome'] === 'denied',
    )
    expect(denied.length).toBeGreaterThan(5)
  })

  it('tells an account of another tenant from none by nothing', async () => {
    const theirs = await newTenant(world, 'a')
    const ours = await newTenant(world, 'b')
    const { accountId } = await newMember(world, theirs.administrator)
    const absent = 'f'.repeat(32)
    const told = async (id: string) => {
      const error = await refused(ours.administrator.accounts.disable(id), 'NOT_FOUND')
      return JSON.stringify([error.message, error.reasons]).replaceAll(id, 'ID')
    }
    expect(await told(accountId)).toBe(await told(absent))
    const seen = JSON.stringify(await (await newMember(world, theirs.administrator)).client.audit())
    expect(seen).not.toContain(absent)
  })

  it('is refused whole once it is disabled, with whatever its policies release', async () => {
    const { tenantId, administrator } = await newTenant(world, 'leaving')
    const { client } = await newMember(world, administrator)
    const scene = await Scene.make(world, client)
    const { operator } = await operatorOf(world)
    await operator.disableTenant(tenantId)
    for (const caller of [administrator, client]) {
      await refused(caller.listKeys(), 'UNAUTHENTICATED', ['TENANT_DISABLED'])
      await refused(caller.createKey({ mode: 'open' }), 'UNAUTHENTICATED', ['TENANT_DISABLED'])
    }
    const session = await scene.attest()
    await refused(session.release(scene.parts()), 'RELEASE_DENIED', [
      'TENANT_DISABLED',
      'TENANT_DISABLED',
    ])
    await operator.enableTenant(tenantId)
    expect(await client.listKeys()).toHaveLength(1)
    await session.release(scene.parts())
  })
})

describe('the operator’s token', () => {
  it('is replaced at its own word, and is worth nothing from then on', async () => {
    const before = await world.operatorToken()
    const { operator } = world.client(before)
    const after = await operator.rotateToken('operator')
    await refused(operator.tenants(), 'UNAUTHENTICATED')
    await refused(operator.rotateToken('operator'), 'UNAUTHENTICATED')
    expect(await world.operatorToken()).toBe(after)
    const renewed = world.client(after)
    expect(await renewed.operator.tenants()).not.toEqual([])
    // The one that reads the whole log is another.
    const audit = await renewed.operator.rotateToken('audit')
    await refused(world.client(audit).operator.tenants(), 'UNAUTHENTICATED')
    const { rows } = await world.client(audit).logRows(0, 1e6)
    const told = rows.flatMap(({ leaf }) => (leaf === undefined ? [] : [leaf]))
    expect(told).toHaveLength(rows.length)
    for (const secret of [before, after, audit]) expect(told.join()).not.toContain(secret)
  })
})

describe('tokens replaced at once', () => {
  const shown = (name: string) => readFile(join(world.folder, 'kms', name), 'utf8')

  it('leave the last one in the file', async () => {
    const { operator } = await operatorOf(world)
    for (let round = 0; round < 20; round++) {
      const rotations = Array.from({ length: 6 }, () => operator.rotateToken('audit'))
      const tokens = await Promise.all(rotations)
      const token = await shown('audit-token')
      expect(tokens).toContain(token)
      await world.client(token).logRows(0, 1)
    }
  })
})

describe('an administrator', () => {
  it('makes and disables accounts of its tenant, and acts for none of them', async () => {
    const { administrator } = await newTenant(world, 'clinic')
    const { accountId, client, credentialId } = await newMember(world, administrator)
    const { keyId } = await client.createKey({ mode: 'open' })
    const grantee = await newMember(world, administrator)
    await client.accounts.grantKey(keyId, grantee.accountId, ['encrypt'])
    const bytes = Uint8Array.of(1)
    await grantee.client.encrypt(keyId, bytes)
    await refused(administrator.disableKey(keyId), 'NOT_OWNER')
    const rotated = administrator.accounts.rotateCredential(credentialId, 0)
    await refused(rotated, 'NOT_FOUND')
    await administrator.accounts.disable(accountId)
    await refused(client.listKeys(), 'UNAUTHENTICATED', ['ACCOUNT_DISABLED'])
    await refused(grantee.client.encrypt(keyId, bytes), 'NOT_ALLOWED', ['ACCOUNT_DISABLED'])
    await administrator.accounts.enable(accountId)
    await grantee.client.encrypt(keyId, bytes)
    expect(await client.listKeys()).toHaveLength(1)
    const [seen] = await administrator.accounts.credentials(accountId)
    expect(seen).toMatchObject({ credentialId, revokedAt: null })
    await administrator.accounts.revokeCredential(credentialId, accountId)
    await refused(client.listKeys(), 'UNAUTHENTICATED', ['CREDENTIAL_REVOKED'])
  })

  it('is what no member is', async () => {
    const { administrator } = await newTenant(world, 'school')
    const { client } = await newMember(world, administrator)
    const other = await newMember(world, administrator)
    const { accounts } = client
    const account = { name: 'x', kind: 'person', credential: WHOLE } as const
    for (const call of [
      () => accounts.list(),
      () => accounts.create({ ...account, role: 'member' }),
      () => accounts.create({ ...account, role: 'administrator' }),
      () => accounts.disable(other.accountId),
      () => accounts.credentials(other.accountId),
      () => accounts.revokeCredential(other.credentialId, other.accountId),
    ]) {
      await refused(call(), 'NOT_ALLOWED', ['NOT_ADMINISTRATOR'])
    }
  })

  it('does not disable itself, nor make one that can more than itself', async () => {
    const { administrator } = await newTenant(world, 'court')
    const { accountId } = (await administrator.accounts.self()).account
    await refused(administrator.accounts.disable(accountId), 'NOT_ALLOWED', ['STATE'])
    const scopes: Scope[] = ['accounts:manage', 'credentials:manage']
    const limited = await administrator.accounts.createCredential({
      name: 'for a script',
      kind: 'bearer',
      scopes,
      expiresInSeconds: HOUR,
    })
    const script = world.client(limited.credential ?? '')
    const account = { name: 'x', kind: 'person', role: 'administrator' } as const
    for (const credential of [
      WHOLE,
      { ...WHOLE, scopes },
      { ...WHOLE, scopes, expiresInSeconds: 2 * HOUR },
    ]) {
      const made = script.accounts.create({ ...account, credential })
      await refused(made, 'NOT_ALLOWED', ['MORE_THAN_OWN'])
    }
    const short = { ...WHOLE, scopes, expiresInSeconds: HOUR / 2 }
    await script.accounts.create({ ...account, credential: short })
  })
})

describe('a grant', () => {
  it('lets an account of the tenant do these acts with a key, and the owner sees it', async () => {
    const { administrator } = await newTenant(world, 'lab')
    const owner = await newMember(world, administrator)
    const helper = await newMember(world, administrator)
    const { keyId } = await owner.client.createKey({ mode: 'open' })
    const own = await helper.client.createKey({ mode: 'open' })
    const datasetId = newDatasetId()
    await refused(sealPart(helper.client, keyId, datasetId), 'NOT_OWNER')
    await owner.client.accounts.grantKey(keyId, helper.accountId, ['wrap'])
    const part = await sealPart(helper.client, keyId, datasetId)
    await sealPart(helper.client, own.keyId, datasetId)
    const { fileId, fixedDigestHex, slot } = part
    const context = { datasetId, fileId, fixedDigestHex }
    await refused(helper.client.unwrapDek(keyId, slot, context), 'NOT_OWNER')
    await refused(helper.client.rotateKey(keyId), 'NOT_OWNER')
    await refused(helper.client.disableKey(keyId), 'NOT_OWNER')
    await refused(helper.client.accounts.grantKey(keyId, helper.accountId, ['unwrap']), 'NOT_OWNER')
    expect((await owner.client.unwrapDek(keyId, slot, context)).exposeBytes()).toEqual(
      part.dek.exposeBytes(),
    )
    expect(await owner.client.accounts.keyGrants(keyId)).toMatchObject([{ actions: ['wrap'] }])
    await new Promise(next => setTimeout(next, 2200))
    const seen = (await owner.client.audit()).map(({ entry }) => JSON.stringify(entry))
    expect(seen.some(row => row.includes(`account:${helper.accountId} for account:`))).toBe(true)
    expect(seen.join()).not.toContain(own.keyId)
    await owner.client.accounts.ungrantKey(keyId, helper.accountId)
    await refused(sealPart(helper.client, keyId, datasetId), 'NOT_OWNER')
    await refused(owner.client.accounts.ungrantKey(keyId, helper.accountId), 'NOT_FOUND')
  })

  it('is for each act that uses a key, and for that act alone', async () => {
    const { administrator } = await newTenant(world, 'acts')
    const owner = await newMember(world, administrator)
    const helper = await newMember(world, administrator)
    const keys = {
      data: (await owner.client.createKey({ mode: 'open' })).keyId,
      sealed: (await owner.client.createKey({})).keyId,
      signing: (
        await owner.client.createKey({
          mode: 'open',
          keySpec: 'ECC_NIST_P256',
          keyUsage: 'SIGN_VERIFY',
        })
      ).keyId,
    }
    const message = Buffer.from('a message')
    const { ciphertext } = await owner.client.encrypt(keys.data, message)
    const how = { signingAlgorithm: 'ECDSA_SHA_256' } as const
    const signature = await owner.client.sign(keys.signing, message, how)
    const acts: readonly (readonly [string, string, (client: KmsClient) => Promise<unknown>])[] = [
      ['encrypt', keys.data, client => client.encrypt(keys.data, message)],
      ['decrypt', keys.data, client => client.decrypt(ciphertext)],
      ['generate-data-key', keys.data, client => client.generateDataKey(keys.data)],
      ['sign', keys.signing, client => client.sign(keys.signing, message, how)],
      ['verify', keys.signing, client => client.verify(keys.signing, message, signature, how)],
      ['get-public-key', keys.signing, client => client.getPublicKey(keys.signing)],
    ]
    for (const [act, keyId, call] of acts) {
      await refused(call(helper.client), 'NOT_OWNER')
      await owner.client.accounts.grantKey(keyId, helper.accountId, [act])
      await call(helper.client)
      for (const [another, , callAnother] of acts) {
        if (another !== act) await refused(callAnother(helper.client), 'NOT_OWNER')
      }
      await owner.client.accounts.ungrantKey(keyId, helper.accountId)
    }
    const all = acts.map(([act]) => act)
    await owner.client.accounts.grantKey(keys.sealed, helper.accountId, [...all, 'unwrap'])
    await refused(helper.client.encrypt(keys.sealed, message), 'KEY_ATTESTED_ONLY')
    await refused(helper.client.generateDataKey(keys.sealed), 'KEY_ATTESTED_ONLY')
    await refused(
      owner.client.accounts.grantKey(keys.data, helper.accountId, ['rotate']),
      'MALFORMED',
    )
  })

  it('goes to no account of another tenant', async () => {
    const ours = await newTenant(world, 'here')
    const theirs = await newTenant(world, 'there')
    const owner = await newMember(world, ours.administrator)
    const stranger = await newMember(world, theirs.administrator)
    const { keyId } = await owner.client.createKey({ mode: 'open' })
    const granted = owner.client.accounts.grantKey(keyId, stranger.accountId, ['wrap'])
    await refused(granted, 'NOT_FOUND')
    await refused(sealPart(stranger.client, keyId, newDatasetId()), 'NOT_OWNER')
  })
})
