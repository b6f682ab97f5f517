import { newDatasetId } from '@cloister/sealed'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { toHex } from '../../protocol/encoding.ts'
import { jobDigest } from '../../protocol/job-statement.ts'
import type { NewCredentialJson } from '../../protocol/messages/accounts.ts'
import { encodePublicKey } from '../../protocol/public-key.ts'
import { SCOPES, type Scope } from '../../protocol/scopes.ts'
import { newTenant, WHOLE } from '../accounts-flow.test.support.ts'
import { allow, newKey, refused, Scene, sealPart, World } from '../flow.test.support.ts'
import { rawCall } from '../http/raw-call.test.support.ts'

const log: string[] = []
let world: World

beforeAll(async () => {
  world = await World.start({ auditBatchSeconds: 1, logTo: line => log.push(line) })
})

afterAll(() => world.stop())

const HOUR = 60 * 60

async function later<T>(seconds: number, work: () => Promise<T>): Promise<T> {
  world.clock.skewMs += seconds * 1000
  try {
    return await work()
  } finally {
    world.clock.skewMs -= seconds * 1000
  }
}

describe('a credential', () => {
  it('does what its scopes say and nothing else', async () => {
    const owner = await world.enrol()
    const scene = await Scene.make(world, owner)
    const { keyId, inputId } = scene
    const datasetId = newDatasetId()
    const head = {
      version: 1,
      manifestDigest: 'a'.repeat(64),
      writerKey: encodePublicKey(newKey()),
    }
    const verbs: readonly (readonly [Scope, (client: typeof owner) => Promise<unknown>])[] = [
      ['keys:read', client => client.listKeys()],
      ['keys:read', client => client.accounts.keyGrants(keyId)],
      ['keys:use', client => sealPart(client, keyId, inputId)],
      ['keys:manage', client => client.rotateKey(keyId)],
      ['keys:manage', client => client.createKey({ mode: 'open' })],
      ['keys:manage', client => client.disableKey(keyId)],
      ['keys:manage', client => client.enableKey(keyId)],
      ['policies:read', client => client.listPolicies()],
      ['policies:manage', client => allow(client, keyId, scene.job)],
      ['datasets:read', client => client.getHead(inputId)],
      ['datasets:write', client => client.moveHead(datasetId, null, head)],
      ['audit:read', client => client.audit()],
      ['audit:read', client => client.logRows(0, 1)],
      ['credentials:manage', client => client.accounts.credentials()],
    ]
    for (const scope of SCOPES) {
      const made = await owner.accounts.createCredential({ ...WHOLE, scopes: [scope] })
      const client = world.client(made.credential ?? '')
      for (const [needed, verb] of verbs) {
        if (needed === scope) await verb(client)
        else await refused(verb(client), 'NOT_ALLOWED', ['SCOPE'])
      }
      expect((await client.accounts.self()).credential.scopes).toEqual([scope])
    }
    const denied = (await owner.audit()).map(({ entry }) => entry)
    expect(denied).toContainEqual(
      expect.objectContaining({
        action: 'rotate-key',
        outcome: 'denied',
        reasons: expect.arrayContaining([expect.objectContaining({ code: 'SCOPE' })]),
      }),
    )
  })

  it('for some keys is for no other, and for nothing that names none', async () => {
    const owner = await world.enrol()
    const { keyId } = await owner.createKey({ mode: 'attested-only' })
    const other = await owner.createKey({ mode: 'attested-only' })
    const made = await owner.accounts.createCredential({ ...WHOLE, keyIds: [keyId] })
    const client = world.client(made.credential ?? '')
    await sealPart(client, keyId, newDatasetId())
    await client.rotateKey(keyId)
    for (const call of [
      () => sealPart(client, other.keyId, newDatasetId()),
      () => client.rotateKey(other.keyId),
      () => client.disableKey(other.keyId),
      () => client.createKey({ mode: 'open' }),
      () => client.listKeys(),
    ]) {
      await refused(call(), 'NOT_ALLOWED', ['KEY'])
    }
    const scene = await Scene.make(world, owner)
    await refused(allow(client, scene.keyId, scene.job), 'NOT_ALLOWED', ['KEY'])
    const [policy] = await owner.listPolicies()
    await refused(client.removePolicy(policy?.policyId ?? ''), 'NOT_ALLOWED', ['KEY'])
    expect(await client.listPolicies()).toEqual([])
    await client.addPolicy({
      keyId,
      measurement: scene.measurement,
      jobDigest: toHex(jobDigest(scene.job)),
      tees: ['sim'],
      tcbStatuses: ['UpToDate'],
    })
    expect(await client.listPolicies()).toHaveLength(1)
  })

  it('never makes what is more than itself, whichever way round', async () => {
    const owner = await world.enrol()
    const { keyId } = await owner.createKey({ mode: 'open' })
    const other = await owner.createKey({ mode: 'open' })
    const scopes: Scope[] = ['credentials:manage', 'keys:use']
    const made = await owner.accounts.createCredential({
      ...WHOLE,
      scopes,
      keyIds: [keyId],
      expiresInSeconds: HOUR,
    })
    const { accounts } = world.client(made.credential ?? '')
    const within = { ...WHOLE, scopes, keyIds: [keyId], expiresInSeconds: HOUR / 2 }
    const mores: readonly NewCredentialJson[] = [
      { ...within, scopes: [...scopes, 'keys:manage' as const] },
      { ...within, keyIds: [keyId, other.keyId] },
      { ...within, expiresInSeconds: HOUR + 60 },
      { name: 'x', kind: 'bearer', scopes, keyIds: [keyId] },
      { name: 'x', kind: 'bearer', scopes, expiresInSeconds: 60 },
    ]
    for (const more of mores) {
      await refused(accounts.createCredential(more), 'NOT_ALLOWED', ['MORE_THAN_OWN'])
    }
    await accounts.createCredential(within)
    const [first] = await owner.accounts.credentials()
    const rotated = accounts.rotateCredential(first?.credentialId ?? '', 0)
    await refused(rotated, 'NOT_ALLOWED', ['MORE_THAN_OWN'])
  })

  it('is rotated with an overlap, gains no time by it, and is rotated once', async () => {
    const owner = await world.enrol()
    const scopes: Scope[] = ['keys:read']
    const made = await owner.accounts.createCredential({ ...WHOLE, scopes, expiresInSeconds: HOUR })
    const old = world.client(made.credential ?? '')
    const oldId = made.description.credentialId
    const next = await old.accounts.rotateCredential(oldId, 60)
    const client = world.client(next.credential ?? '')
    expect(next.description.expiresAt).toBe(made.description.expiresAt)
    await old.listKeys()
    await client.listKeys()
    await refused(old.accounts.rotateCredential(oldId, 60), 'NOT_ALLOWED', ['STATE'])
    await later(61, async () => {
      await refused(old.listKeys(), 'UNAUTHENTICATED', ['CREDENTIAL_EXPIRED'])
      await client.listKeys()
    })
    await later(HOUR + 1, async () => {
      await refused(client.listKeys(), 'UNAUTHENTICATED', ['CREDENTIAL_EXPIRED'])
    })
    // By one that lives longer it is given its whole lifetime again.
    const again = await later(HOUR / 2, () =>
      owner.accounts.rotateCredential(next.description.credentialId, 0),
    )
    const gained =
      Date.parse(again.description.expiresAt ?? '') - Date.parse(next.description.expiresAt ?? '')
    expect(gained).toBeGreaterThan((HOUR / 2 - 60) * 1000)
  })

  it('is refused at once when revoked, and for good', async () => {
    const owner = await world.enrol()
    const made = await owner.accounts.createCredential(WHOLE)
    const client = world.client(made.credential ?? '')
    await client.listKeys()
    const revoked = await owner.accounts.revokeCredential(made.description.credentialId)
    expect(revoked.revokedAt).not.toBeNull()
    await refused(client.listKeys(), 'UNAUTHENTICATED', ['CREDENTIAL_REVOKED'])
    await refused(client.createKey({ mode: 'open' }), 'UNAUTHENTICATED', ['CREDENTIAL_REVOKED'])
    await refused(client.logRows(0, 1), 'UNAUTHENTICATED', ['CREDENTIAL_REVOKED'])
    const rotated = owner.accounts.rotateCredential(made.description.credentialId, 0)
    await refused(rotated, 'NOT_ALLOWED', ['STATE'])
    await new Promise(next => setTimeout(next, 1500))
    const usage = (await owner.audit()).map(({ entry }) => JSON.stringify(entry))
    expect(usage.some(row => row.includes('CREDENTIAL_REVOKED'))).toBe(true)
  })

  it('that is unknown and one with a wrong secret are refused alike, byte for byte', async () => {
    const owner = await world.enrol()
    const { credential } = await owner.accounts.self()
    const secret = 'A'.repeat(43)
    const answers: string[] = []
    for (const id of [credential.credentialId, 'f'.repeat(32)]) {
      for (const path of ['/v1/keys', '/v1/account', '/v1/audit', '/v1/log/rows']) {
        answers.push(await answerTo(world, path, `Bearer ${id}.${secret}`))
      }
    }
    for (const odd of ['Basic YTpi', 'Bearer ', 'Bearer a b', `bearer ${secret}`, 'Bearer é']) {
      answers.push(await answerTo(world, '/v1/keys', odd))
    }
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toContain('UNAUTHENTICATED')
  })

  it('tells when it was last used, in batches', async () => {
    const owner = await world.enrol()
    const made = await owner.accounts.createCredential(WHOLE)
    expect(made.description).toMatchObject({ uses: 0, lastUsedAt: null })
    const client = world.client(made.credential ?? '')
    for (let use = 0; use < 3; use++) await client.listKeys()
    await new Promise(next => setTimeout(next, 2200))
    const listed = await owner.accounts.credentials()
    const seen = listed.find(({ credentialId }) => credentialId === made.description.credentialId)
    expect(seen).toMatchObject({ uses: 3 })
    expect(Date.parse(seen?.lastUsedAt ?? '')).toBeGreaterThan(Date.now() - 60_000)
  })

  it('is taken for nothing that SQL wrote', async () => {
    const owner = await world.enrol()
    const thief = await world.enrol()
    const mine = (await owner.accounts.self()).credential.credentialId
    const theirs = (await thief.accounts.self()).credential.credentialId
    const hashOf = (id: string) =>
      world.database.read(`select hash from credentials where credential_id = '${id}'`)[0]?.['hash']
    const [own, other] = [hashOf(mine), hashOf(theirs)]
    // The service may be writing just then: it counts uses, in batches.
    const edit = (sql: string) => vi.waitFor(() => world.database.edit(sql), 5000)
    const put = (id: string, hash: unknown) =>
      edit(`update credentials set hash = '${hash}' where credential_id = '${id}'`)
    await put(mine, other)
    try {
      // The thief's secret under the owner's id, now that the hashes are the same.
      const stolen = world.client(`${mine}.${'A'.repeat(43)}`)
      await expect(stolen.listKeys()).rejects.toMatchObject({
        code: expect.stringMatching(/^(UNAUTHENTICATED|INTEGRITY)$/),
      })
      await refused(owner.accounts.credentials(), 'INTEGRITY')
    } finally {
      await put(mine, own)
    }
    expect(await owner.accounts.credentials()).toHaveLength(1)
    await edit(
      `insert into credentials select row_version, mac, 'abc', account_id, name, hash, certificate,
       scopes, key_ids, created_at, expires_at, revoked_at, replaced_by from credentials
       where credential_id = '${theirs}'`,
    )
    await refused(thief.accounts.credentials(), 'INTEGRITY')
    await edit(`delete from credentials where credential_id = 'abc'`)
  })

  it('stands nowhere in the database, nor in the log', async () => {
    const owner = await world.enrol()
    const made = await owner.accounts.createCredential(WHOLE)
    const text = made.credential ?? ''
    const { credential: rotated } = await owner.accounts.rotateCredential(
      made.description.credentialId,
      10,
    )
    const client = world.client(text)
    await client.listKeys()
    await owner.accounts.revokeCredential(made.description.credentialId)
    await refused(client.listKeys(), 'UNAUTHENTICATED')
    const token = await world.operatorToken()
    const { credential } = await newTenant(world, 'secretive')
    const stored = JSON.stringify(
      ['credentials', 'tenant_accounts', 'tenants', 'audit_leaves', 'secrets'].map(table =>
        world.database.read(`select * from ${table}`),
      ),
    )
    for (const secret of [text, rotated ?? '', credential].map(one => one.split('.')[1] ?? '')) {
      expect(secret).toHaveLength(43)
      expect(stored).not.toContain(secret)
      expect(log.join('\n')).not.toContain(secret)
    }
    expect(log.join('\n') + stored).not.toContain(token)
  })
})

async function answerTo(of: World, path: string, authorization: string): Promise<string> {
  const { status, text } = await rawCall(of.kms.pin, { method: 'GET', path, authorization })
  return `${status} ${text}`
}
