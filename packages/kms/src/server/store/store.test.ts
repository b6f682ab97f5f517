import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { Secret } from '../root/index.ts'
import { newStore, onEveryDatabase } from './backends.test.fixture.ts'
import { consume, getHead, moveHead, openStore, purgeConsumed, SealedSecrets } from './index.ts'
import { temporaryFolder, temporaryStore, testRoot } from './temporary-store.test.fixture.ts'

const at = new Date('2026-01-01T00:00:00Z')
const head = (version: number) => ({ version, manifestDigest: `digest-${version}`, writerKey: 'w' })

onEveryDatabase('the store', backend => {
  describe('store', () => {
    it('keeps what was written over a restart', async () => {
      const { open, store } = await newStore(backend)
      const use = { kind: 'challenge', id: 'c', expiresAt: at } as const
      await store.write(tx =>
        moveHead(tx, { datasetId: 'd', owner: 'a', expected: null, next: head(1) }),
      )
      await store.write(tx => consume(tx, use))
      await store.close()
      const again = await open()
      expect(await again.read(tx => getHead(tx, 'd'))).toMatchObject(head(1))
      expect(await again.write(tx => consume(tx, use))).toBe(false)
    })

    it('keeps nothing of a transaction that throws, also not in memory', async () => {
      const { store } = await newStore(backend)
      const use = { kind: 'challenge', id: 'c', expiresAt: at } as const
      const failing = store.write(async tx => {
        expect(await consume(tx, use)).toBe(true)
        expect(await consume(tx, use)).toBe(false)
        throw new RangeError('no')
      })
      await expect(failing).rejects.toThrow(RangeError)
      expect(await store.write(tx => consume(tx, use))).toBe(true)
      expect(await store.write(tx => consume(tx, use))).toBe(false)
    })

    it('runs transactions one at a time: of many uses at once, one is the first', async () => {
      const { store } = await newStore(backend)
      const use = { kind: 'token', id: 't', expiresAt: at } as const
      const uses = await Promise.all(
        Array.from({ length: 20 }, () => store.write(tx => consume(tx, use))),
      )
      expect(uses.filter(isFirst => isFirst)).toHaveLength(1)
    })

    it('refuses a transaction inside another, and any after closing', async () => {
      const { store } = await newStore(backend)
      const nested = store.write(() => store.read(async () => 1))
      await expect(nested).rejects.toMatchObject({ code: 'NESTED' })
      await store.close()
      await expect(store.read(async () => 1)).rejects.toMatchObject({ code: 'CLOSED' })
    })

    it('does not let reads write', async () => {
      const { store } = await newStore(backend)
      const write = store.read(tx => consume(tx, { kind: 'token', id: 't', expiresAt: at }))
      await expect(write).rejects.toMatchObject({ code: 'SQL' })
    })

    it('of a newer version says so, and not that it was tampered with', async () => {
      const { open, store } = await newStore(backend)
      await store.write(async ({ db }) => {
        const made = sql`insert into kysely_migration (name, timestamp) values ('9999-later', 'x')`
        await made.execute(db)
      })
      await store.close()
      const opening = open()
      await expect(opening).rejects.toMatchObject({ code: 'MIGRATION' })
      await expect(opening).rejects.toThrow('9999-later')
    })

    it('refuses another root key', async () => {
      const { options, store } = await newStore(backend)
      await store.close()
      const opening = openStore({ ...options, root: testRoot(8) })
      await expect(opening).rejects.toMatchObject({ code: 'WRONG_ROOT_KEY' })
    })
  })

  describe('heads', () => {
    it('move by compare-and-set, one version at a time', async () => {
      const { store } = await newStore(backend)
      const move = (
        expected: { version: number; manifestDigest: string } | null,
        version: number,
      ) =>
        store.write(tx =>
          moveHead(tx, { datasetId: 'd', owner: 'a', expected, next: head(version) }),
        )
      expect(await store.read(tx => getHead(tx, 'd'))).toBeUndefined()
      await expect(move(head(1), 2)).rejects.toMatchObject({
        code: 'HEAD_CONFLICT',
        seen: undefined,
      })
      await expect(move(null, 2)).rejects.toMatchObject({ code: 'HEAD_VERSION' })
      await move(null, 1)
      await expect(move(null, 1)).rejects.toMatchObject({ code: 'HEAD_CONFLICT' })
      await expect(move({ ...head(1), manifestDigest: 'x' }, 2)).rejects.toMatchObject({
        code: 'HEAD_CONFLICT',
        seen: { version: 1 },
      })
      await expect(move(head(1), 1)).rejects.toMatchObject({ code: 'HEAD_VERSION' })
      const moved = await move(head(1), 2)
      expect(await store.read(tx => getHead(tx, 'd'))).toEqual(moved)
      const theirs = { datasetId: 'd', owner: 'b', expected: head(2), next: head(3) }
      const stolen = store.write(tx => moveHead(tx, theirs))
      await expect(stolen).rejects.toMatchObject({ code: 'HEAD_OWNER' })
    })

    it('of two movers at once, let one through', async () => {
      const { store } = await newStore(backend)
      const move = () =>
        store.write(tx =>
          moveHead(tx, { datasetId: 'd', owner: 'a', expected: null, next: head(1) }),
        )
      const results = await Promise.allSettled([move(), move(), move()])
      expect(results.map(({ status }) => status).sort()).toEqual([
        'fulfilled',
        'rejected',
        'rejected',
      ])
    })
  })

  describe('what was consumed', () => {
    it('is told apart by kind, and forgotten when it expired', async () => {
      const { open, read, store } = await newStore(backend)
      const later = new Date(at.getTime() + 1000)
      await store.write(async tx => {
        expect(await consume(tx, { kind: 'challenge', id: 'x', expiresAt: at })).toBe(true)
        expect(await consume(tx, { kind: 'token', id: 'x', expiresAt: later })).toBe(true)
      })
      expect(await store.write(tx => purgeConsumed(tx, at))).toBe(0)
      expect(await store.write(tx => purgeConsumed(tx, later))).toBe(1)
      expect(read('select id from consumed')).toEqual([{ id: 'token:x' }])
      await store.close()
      await open()
    })
  })

  describe('sealed secrets', () => {
    it('come back, are replaced, and are not in the database in plaintext', async () => {
      const { read, root, store } = await newStore(backend)
      const secrets = new SealedSecrets(root)
      const first = new TextEncoder().encode('a very secret identity key')
      expect(await store.read(tx => secrets.get(tx, 'identity'))).toBeUndefined()
      await store.write(tx => secrets.put(tx, 'identity', Secret.from(first)))
      expect((await store.read(tx => secrets.get(tx, 'identity')))?.exposeBytes()).toEqual(first)
      await store.write(tx => secrets.put(tx, 'identity', Secret.from(Uint8Array.of(1))))
      const second = await store.read(tx => secrets.get(tx, 'identity'))
      expect(second?.exposeBytes()).toEqual(Uint8Array.of(1))
      const [row] = read('select wrapped from secrets')
      expect(Buffer.from(String(row?.['wrapped']), 'base64url').includes(Buffer.from(first))).toBe(
        false,
      )
    })
  })
})

describe('a file of SQLite', () => {
  it('is of files of mode 0600', async () => {
    const { path } = await temporaryStore()
    for (const file of [path, `${path}-wal`, `${path}-shm`, `${path}.lock`]) {
      expect((await stat(file)).mode & 0o777, file).toBe(0o600)
    }
  })

  it('lets one process in', async () => {
    const { path, root } = await temporaryStore()
    await expect(openStore({ path, root })).rejects.toMatchObject({ code: 'LOCKED' })
  })

  it('refuses a folder that is not there', async () => {
    const path = join(await temporaryFolder(), 'absent', 'kms.db')
    await expect(openStore({ path, root: testRoot() })).rejects.toMatchObject({ code: 'OPEN' })
  })
})
