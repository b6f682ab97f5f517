import { describe, expect, it } from 'vitest'
import { RowKeys } from '../store/index.ts'
import { ADDED } from '../store/schema.ts'
import { temporaryStore, testRoot } from '../store/temporary-store.test.fixture.ts'
import { Keys } from './index.ts'
import { changeKey } from './rows.ts'

const DAY_MS = 24 * 60 * 60 * 1000

async function opened() {
  const { root, store } = await temporaryStore()
  const keys = new Keys(root)
  const create = (at: number) =>
    store.write(tx => keys.create(tx, { owner: 'a', mode: 'open', at: new Date(at) }))
  return { keys, store, create }
}

describe('rows of before a table had more columns', () => {
  const columns = { key_id: 'k', owner: 'a', alias: null, mode: 'open', state: 'enabled' }
  const macOf = (more: Record<string, string | number | null>) =>
    Buffer.from(new RowKeys(testRoot()).rowMac('keys', 'k', 1, { ...columns, ...more }))

  it('are as they were proven, while nothing stands in the new ones', () => {
    const nothing = Object.fromEntries((ADDED['keys'] ?? []).map(name => [name, null]))
    expect(Object.keys(nothing)).toContain('deletion_at')
    expect(macOf(nothing).equals(macOf({}))).toBe(true)
    for (const name of Object.keys(nothing)) {
      for (const value of ['', 'x', 0, 1]) {
        expect(macOf({ ...nothing, [name]: value }).equals(macOf({})), name).toBe(false)
      }
    }
    // Of the columns that were always there, null is a value like any other.
    const { alias: _alias, ...without } = columns
    const keys = new RowKeys(testRoot())
    const mac = Buffer.from(keys.rowMac('keys', 'k', 1, without))
    expect(mac.equals(macOf({}))).toBe(false)
  })
})

describe('aliases that stood in the rows of keys before they had a table', () => {
  it('move there; of one that several keys had, the oldest keeps it', async () => {
    const { create, keys, store } = await opened()
    const [first, second, third] = [await create(1), await create(2), await create(3)]
    await store.write(async tx => {
      await changeKey(tx, first.keyId, { alias: 'both' })
      await changeKey(tx, second.keyId, { alias: 'both' })
      await changeKey(tx, third.keyId, { alias: first.keyId })
    })
    for (let time = 0; time < 2; time++) {
      await store.write(tx => keys.aliases.adopt(tx, new Date()))
    }
    await store.read(async tx => {
      expect(await keys.aliases.keyIdOf(tx, 'a', 'both')).toBe(first.keyId)
      // One that looks like a key id would be taken for it.
      expect(await keys.aliases.byKey(tx, 'a')).toEqual(new Map([[first.keyId, ['both']]]))
    })
  })
})

describe('what is planned for a key', () => {
  it('is done by one of many who find it due', async () => {
    const { create, keys, store } = await opened()
    const { keyId } = await create(0)
    await store.write(tx => keys.life.enableRotation(tx, keyId, 1, new Date(0)))
    const at = new Date(DAY_MS)
    const due = await store.read(tx => keys.life.dueForRotation(tx, at))
    expect(due.map(key => key.keyId)).toEqual([keyId])
    const rounds = Array.from({ length: 8 }, () =>
      store.write(tx => keys.life.rotateIfDue(tx, keyId, at)),
    )
    const done = (await Promise.all(rounds)).filter(key => key !== undefined)
    expect(done).toHaveLength(1)
    expect(await store.read(tx => keys.get(tx, keyId))).toMatchObject({
      currentVersion: 2,
      rotation: { periodDays: 1, nextAt: new Date(2 * DAY_MS) },
    })
    await store.write(tx => keys.life.scheduleDeletion(tx, keyId, 7, at))
    const later = new Date(8 * DAY_MS)
    expect(await store.read(tx => keys.life.dueForRotation(tx, later))).toEqual([])
    const removals = Array.from({ length: 8 }, () =>
      store.write(tx => keys.life.deleteIfDue(tx, keyId, later)),
    )
    expect((await Promise.all(removals)).filter(key => key !== undefined)).toHaveLength(1)
  })
})
