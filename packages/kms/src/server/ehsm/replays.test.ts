import { describe, expect, it } from 'vitest'
import { editDatabase, temporaryStore } from '../store/temporary-store.test.fixture.ts'
import { REMEMBERED_MS, Replays, useOf } from './replays.ts'

const NOW = 1_700_000_000_000

const request = (nonce: string | undefined, timestamp = String(NOW), appId = 'account') =>
  useOf({ appId, nonce, timestamp })

describe('requests', () => {
  it('are taken once, by account, nonce and time together', async () => {
    const { store } = await temporaryStore()
    const replays = await Replays.open(store, () => new Date())
    const all = [
      request(undefined),
      request('undefined'),
      request('null'),
      request('1'),
      request(undefined, '1700000000001'),
      request(undefined, String(NOW), 'another'),
    ]
    for (const one of all) {
      expect(replays.has(one)).toBe(false)
      expect(await replays.take(one)).toBe(true)
      expect(replays.has(one)).toBe(true)
      expect(await replays.take(one)).toBe(false)
    }
    const again = await Replays.open(store, () => new Date())
    for (const one of all) expect(await again.take(one)).toBe(false)
  })

  it('are forgotten when they would be too old to be taken, and not before', async () => {
    const { store } = await temporaryStore()
    const first = NOW
    let now = first
    const replays = await Replays.open(store, () => new Date(now))
    const many = Array.from({ length: 300 }, (_, at) => request(String(at)))
    await Promise.all(many.map(one => replays.take(one)))
    const young = request('young', String(first + 120_000))
    await replays.take(young)
    now = first + REMEMBERED_MS
    await replays.purge()
    for (const one of [...many, young]) expect(replays.has(one)).toBe(true)
    // Those of one minute are forgotten together.
    now += 61_000
    await replays.purge()
    for (const one of many) expect(replays.has(one)).toBe(false)
    expect(replays.has(young)).toBe(true)
    const again = await Replays.open(store, () => new Date(now))
    expect(again.has(request('1'))).toBe(false)
    expect(again.has(young)).toBe(true)
  })

  it('are not forgotten for an edit of the database', async () => {
    const { path, store } = await temporaryStore()
    const replays = await Replays.open(store, () => new Date(NOW))
    await replays.take(request('1'))
    editDatabase(path, 'update ehsm_replays set expires_at = 1')
    await expect(replays.purge()).rejects.toMatchObject({ code: 'ROW_MAC' })
    expect(replays.has(request('1'))).toBe(true)
    editDatabase(path, 'delete from ehsm_replays')
    await replays.purge()
    expect(await replays.take(request('1'))).toBe(false)
  })
})
