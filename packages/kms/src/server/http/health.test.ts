import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { World } from '../flow.test.support.ts'
import { rawCall } from './raw-call.test.support.ts'

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterAll(() => world.stop())

const get = (path: string) => rawCall(world.kms.pin, { method: 'GET', path })

describe('health and readiness', () => {
  it('are told to anybody, and say nothing else', async () => {
    expect(await get('/healthz')).toMatchObject({ status: 200, text: '{"alive":true}' })
    expect(await get('/readyz')).toMatchObject({ status: 200, text: '{"ready":true}' })
  })

  it('are told however often somebody asks', async () => {
    const limited = await World.start({ rates: { account: 1, address: 1 } })
    const { pin } = limited.kms
    for (let count = 0; count < 50; count++) {
      expect((await rawCall(pin, { method: 'GET', path: '/readyz' })).status).toBe(200)
    }
    await limited.stop()
  })
})
