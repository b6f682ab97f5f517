import { expect, it } from 'vitest'
import { newStore, onEveryDatabase } from './backends.test.fixture.ts'
import { consume, getHead, moveHead, StoreError } from './index.ts'

const at = new Date('2026-01-01T00:00:00Z')
const use = (id: number | string) => ({ kind: 'token', id: String(id), expiresAt: at }) as const
const head = (version: number) => ({ version, manifestDigest: `digest ${version}`, writerKey: 'w' })

/** Writes all at once; gives what became of each. */
const settled = async (all: readonly Promise<unknown>[]) =>
  (await Promise.allSettled(all)).map(one =>
    one.status === 'fulfilled' ? one.value : String(one.reason.message),
  )

onEveryDatabase('writes that wait for the disk together', backend => {
  it('each stay or go as a whole, and see those before them', async () => {
    const { open, store } = await newStore(backend)
    const writes = Array.from({ length: 200 }, (_, n) =>
      store.write(async tx => {
        const isFirst = await consume(tx, use(Math.floor(n / 2)))
        if (n % 5 === 0) throw new RangeError(`no ${n}`)
        return isFirst
      }),
    )
    const wanted = Array.from({ length: 200 }, (_, n) => {
      // Of each pair the first that did not throw.
      if (n % 5 === 0) return `no ${n}`
      return n % 2 === 0 || (n - 1) % 5 === 0
    })
    expect(await settled(writes)).toEqual(wanted)
    await store.close()
    const again = await open()
    const uses = Array.from({ length: 100 }, (_, n) => again.write(tx => consume(tx, use(n))))
    expect(await Promise.all(uses)).not.toContain(true)
    await again.close()
  })

  it('are taken back one by one, whether they asked the database before or not', async () => {
    const { open, store } = await newStore(backend)
    const asks = (n: number) => n % 3 !== 0
    const fails = (n: number) => n % 4 === 1
    const writes = Array.from({ length: 60 }, (_, n) =>
      store.write(async tx => {
        if (asks(n)) await getHead(tx, `d ${n}`)
        await consume(tx, use(n))
        if (asks(n + 1)) await getHead(tx, 'd')
        await moveHead(tx, { datasetId: `d ${n}`, owner: 'a', expected: null, next: head(1) })
        if (asks(n + 2)) expect(await getHead(tx, `d ${n}`)).toMatchObject({ version: 1 })
        if (fails(n)) throw new RangeError(`no ${n}`)
      }),
    )
    expect(await settled(writes)).toEqual(writes.map((_, n) => (fails(n) ? `no ${n}` : undefined)))
    await store.close()
    const again = await open()
    for (let n = 0; n < writes.length; n++) {
      const found = await again.read(tx => getHead(tx, `d ${n}`))
      expect([n, found?.version]).toEqual([n, fails(n) ? undefined : 1])
      expect(await again.write(tx => consume(tx, use(n)))).toBe(fails(n))
    }
  })

  it('move a head one after the other: of those that expect the same, one', async () => {
    const { open, store } = await newStore(backend)
    const move = (from: number) =>
      store.write(tx => {
        const expected = from === 0 ? null : head(from)
        return moveHead(tx, { datasetId: 'd', owner: 'a', expected, next: head(from + 1) })
      })
    const moves = await Promise.allSettled([0, 0, 1, 0, 2, 2, 1, 3].map(move))
    const won = moves.map(({ status }) => status === 'fulfilled')
    expect(won).toEqual([true, false, true, false, true, false, false, true])
    await store.close()
    const again = await open()
    expect(await again.read(tx => getHead(tx, 'd'))).toMatchObject({ version: 4 })
    await again.close()
  })

  it('share commits: far fewer than there are writes', async () => {
    const { read, store } = await newStore(backend)
    const epoch = () => Number(read('select epoch from store_state')[0]?.['epoch'])
    const before = epoch()
    await Promise.all(Array.from({ length: 256 }, (_, n) => store.write(tx => consume(tx, use(n)))))
    expect(epoch() - before).toBeLessThan(20)
  })

  it('are run again one by one when the database refuses one of them', async () => {
    const { edit, open, store } = await newStore(backend)
    await store.write(tx =>
      moveHead(tx, { datasetId: 'd', owner: 'a', expected: null, next: head(1) }),
    )
    edit(`update heads set owner = 'thief'`)
    const writes = Array.from({ length: 20 }, (_, n) =>
      store.write(async tx => {
        if (n % 7 === 3) await getHead(tx, 'd')
        return await consume(tx, use(n))
      }),
    )
    const ends = await Promise.allSettled(writes)
    for (const [n, end] of ends.entries()) {
      if (n % 7 !== 3) expect([n, end]).toEqual([n, { status: 'fulfilled', value: true }])
      else expect(end).toMatchObject({ reason: { code: 'ROW_MAC' } })
    }
    edit(`update heads set owner = 'a'`)
    await store.close()
    const again = await open()
    const uses = Array.from({ length: 20 }, (_, n) => again.write(tx => consume(tx, use(n))))
    expect(await Promise.all(uses)).toEqual(Array.from({ length: 20 }, (_, n) => n % 7 === 3))
    await again.close()
  })

  it('are refused when the database is closed, those that wait done before', async () => {
    const { store } = await newStore(backend)
    const before = Array.from({ length: 5 }, (_, n) => store.write(tx => consume(tx, use(n))))
    const closing = store.close()
    const after = store.write(tx => consume(tx, use('late')))
    expect(await Promise.all(before)).toEqual([true, true, true, true, true])
    await closing
    // It waited with the others, or came too late; it is never lost silently.
    await after.catch((error: unknown) => expect(error).toBeInstanceOf(StoreError))
    const late = store.write(tx => consume(tx, use('later')))
    await expect(late).rejects.toMatchObject({ code: 'CLOSED' })
  })
})
