import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { World } from '../../flow.test.support.ts'
import { EhsmTestClient } from '../client.test.support.ts'

const DAY_MS = 24 * 60 * 60 * 1000

let world: World

beforeAll(async () => {
  world = await World.start({ ehsm: { openEnrolment: true, openKeys: true } })
})

afterAll(() => world.stop())

describe('a secret', () => {
  it('is there until its time of grace is over, and then its name is free', async () => {
    const before = await EhsmTestClient.enroll(world.kms.pin)
    const secret = { secretName: 'name', secretData: 'data' }
    await before.call('CreateSecret', secret)
    await before.call('DeleteSecret', { secretName: 'name', recoveryPeriod: 1 })
    const later = new EhsmTestClient(world.kms.pin, before.appId, before.apiKey)
    world.clock.skewMs = DAY_MS - 60_000
    later.skewMs = world.clock.skewMs
    expect((await later.call('ListSecrets')).envelope.result['totalCount']).toBe(1)
    world.clock.skewMs = DAY_MS + 60_000
    later.skewMs = world.clock.skewMs
    expect((await later.call('ListSecrets')).envelope.result['totalCount']).toBe(0)
    const restored = await later.call('RestoreSecret', { secretName: 'name' })
    expect(restored.envelope.code).toBe(400)
    expect((await later.call('CreateSecret', secret)).envelope.code).toBe(200)
    const { envelope } = await later.call('GetSecretValue', { secretName: 'name' })
    expect(envelope.result).toMatchObject({ secretData: 'data', versionId: 1 })
    world.clock.skewMs = 0
  })

  it.each([
    ['an older value made the current one', 'update ehsm_secrets set current_version = 1'],
    ['a value swapped', "update ehsm_secret_versions set ciphertext = 'AAAA' where version = 2"],
    ['a planned deletion taken back', 'update ehsm_secrets set delete_at = null, name = name'],
    ['the secret away', 'delete from ehsm_secrets'],
    ['the value away', 'delete from ehsm_secret_versions where version = 2'],
  ])('with %s behind the service’s back is refused', async (what, statement) => {
    const own = await World.start({ ehsm: { openEnrolment: true, openKeys: true } })
    try {
      const client = await EhsmTestClient.enroll(own.kms.pin)
      await client.call('CreateSecret', { secretName: 'name', secretData: 'first' })
      await client.call('PutSecretValue', { secretName: 'name', secretData: 'second' })
      if (what.startsWith('a planned')) await client.call('DeleteSecret', { secretName: 'name' })
      expect(own.database.edit(statement)).toBe(1)
      const { envelope } = await client.call('GetSecretValue', { secretName: 'name' })
      expect([envelope.code, envelope.message]).toEqual([400, 'database error'])
    } finally {
      await own.stop()
    }
  })
})
