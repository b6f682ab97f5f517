import { describe, expect, it } from 'vitest'
import { openStore } from './index.ts'
import { editDatabase, temporaryStore } from './temporary-store.test.fixture.ts'

/** A row of a table that nothing else reads. */
const use = (id: string) => ({ id, expires_at: 1 })

describe('writing at once', () => {
  it('is on disk, proven and in order with every other transaction', async () => {
    const { path, root, store } = await temporaryStore()
    const ids = Array.from({ length: 20 }, (_, at) => `kind:${at}`)
    const writes = ids.map((id, at) =>
      at % 2 === 0
        ? store.writeAtOnce(({ db, guard }) => {
            const columns = { ...use(id), ...guard.stamp('consumed', id, use(id)) }
            return [db.insertInto('consumed').values(columns)]
          })
        : store.write(async ({ db, guard }) => {
            const columns = { ...use(id), ...guard.stamp('consumed', id, use(id)) }
            await db.insertInto('consumed').values(columns).execute()
          }),
    )
    await Promise.all(writes)
    await store.close()
    const again = await openStore({ path, root })
    expect(await again.read(async ({ guard }) => ids.map(id => guard.has('consumed', id)))).toEqual(
      ids.map(() => true),
    )
    await again.close()
    editDatabase(path, "delete from consumed where id = 'kind:4'")
    await expect(openStore({ path, root })).rejects.toMatchObject({ code: 'ROW_MAC' })
  })

  it('leaves nothing when any of it fails, and the store goes on', async () => {
    const { path, root, store } = await temporaryStore()
    const twice = store.writeAtOnce(({ db, guard }) => {
      const first = { ...use('kind:a'), ...guard.stamp('consumed', 'kind:a', use('kind:a')) }
      return [db.insertInto('consumed').values(first), db.insertInto('consumed').values(first)]
    })
    await expect(twice).rejects.toMatchObject({ code: 'SQL' })
    const has = () => store.read(async ({ guard }) => guard.has('consumed', 'kind:a'))
    expect(await has()).toBe(false)
    await store.writeAtOnce(({ db, guard }) => {
      const row = { ...use('kind:a'), ...guard.stamp('consumed', 'kind:a', use('kind:a')) }
      return [db.insertInto('consumed').values(row)]
    })
    expect(await has()).toBe(true)
    await store.close()
    await (await openStore({ path, root })).close()
  })

  it('is refused inside another transaction, and when the store is closed', async () => {
    const { store } = await temporaryStore()
    const inside = store.write(async () => {
      await store.writeAtOnce(() => [])
    })
    await expect(inside).rejects.toMatchObject({ code: 'NESTED' })
    await store.close()
    await expect(store.writeAtOnce(() => [])).rejects.toMatchObject({ code: 'CLOSED' })
  })
})
