import { describe, expect, it } from 'vitest'
import { openStore } from '../store/index.ts'
import { temporaryStore } from '../store/temporary-store.test.fixture.ts'
import {
  type AuditEntry,
  AuditLog,
  encodeAuditEntry,
  leafHash,
  verifyConsistency,
  verifyInclusion,
} from './index.ts'

const at = new Date('2026-01-01T00:00:00Z')

const entryOf = (n: number): AuditEntry => ({
  at: at.toISOString(),
  actor: 'account:a',
  action: 'key.create',
  outcome: n % 2 === 0 ? 'done' : 'denied',
  reasons: n % 2 === 0 ? [] : [{ code: 'X', message: 'no', wanted: 'a', seen: ['b', n] }],
  keyId: `key ${n}`,
})

describe('the audit log', () => {
  it('keeps entries in order, proves each of them, and goes on after a restart', async () => {
    const { path, root, store } = await temporaryStore()
    const log = new AuditLog()
    const roots: Uint8Array[] = [(await store.read(tx => log.root(tx))).rootHash]
    for (let n = 0; n < 11; n++) {
      const { index, leafHash: hash } = await store.write(tx => log.append(tx, entryOf(n)))
      expect(index).toBe(n)
      expect(hash).toEqual(leafHash(encodeAuditEntry(entryOf(n))))
      roots.push((await store.read(tx => log.root(tx))).rootHash)
    }
    await store.close()
    const again = await openStore({ path, root })
    try {
      await again.write(async tx => {
        await log.append(tx, entryOf(11))
        await log.append(tx, entryOf(12))
      })
      const { rootHash, size } = await again.read(tx => log.root(tx))
      expect(size).toBe(13)
      const all = await again.read(tx => log.entries(tx, { after: -1, limit: 100 }))
      expect(all.map(({ entry }) => entry)).toEqual(
        Array.from({ length: 13 }, (_, n) => entryOf(n)),
      )
      for (const { index, leafHash: hash } of all) {
        const proof = await again.read(tx => log.inclusionProof(tx, index))
        verifyInclusion({ ...proof, leafHash: hash, rootHash })
      }
      for (const [earlier, earlierRoot] of roots.entries()) {
        const proven = await again.read(tx => log.consistencyProof(tx, earlier, size))
        verifyConsistency({
          firstSize: earlier,
          firstRootHash: earlierRoot,
          secondSize: size,
          secondRootHash: rootHash,
          path: proven,
        })
        if (earlier < 4) continue
        const proof = await again.read(tx => log.inclusionProof(tx, 3, earlier))
        const hash = leafHash(encodeAuditEntry(entryOf(3)))
        verifyInclusion({ ...proof, leafHash: hash, rootHash: earlierRoot })
      }
      const page = await again.read(tx => log.entries(tx, { after: 4, limit: 3 }))
      expect(page.map(({ index }) => index)).toEqual([5, 6, 7])
      expect(await again.read(tx => log.entries(tx, { after: 12, limit: 3 }))).toEqual([])
      expect(await again.read(tx => log.entries(tx, { after: 99, limit: 3 }))).toEqual([])
    } finally {
      await again.close()
    }
  })

  it('has an entry only if the act was done: both are in one transaction', async () => {
    const { store } = await temporaryStore()
    const log = new AuditLog()
    const failing = store.write(async tx => {
      await log.append(tx, entryOf(0))
      throw new RangeError('no')
    })
    await expect(failing).rejects.toThrow(RangeError)
    expect(await store.read(tx => log.root(tx))).toMatchObject({ size: 0 })
    expect(await store.write(tx => log.append(tx, entryOf(0)))).toMatchObject({ index: 0 })
  })

  it('refuses what it does not have', async () => {
    const { store } = await temporaryStore()
    const log = new AuditLog()
    const RANGE = { code: 'RANGE' }
    const proof = (index: number, size?: number) =>
      store.read(tx => log.inclusionProof(tx, index, size))
    await expect(proof(0)).rejects.toMatchObject(RANGE)
    await store.write(tx => log.append(tx, entryOf(0)))
    for (const index of [1, -1, 0.5, Number.NaN]) {
      await expect(proof(index)).rejects.toMatchObject(RANGE)
    }
    await expect(proof(0, 2)).rejects.toMatchObject(RANGE)
    await expect(proof(0, 0)).rejects.toMatchObject(RANGE)
    const shrunk = store.read(tx => log.consistencyProof(tx, 1, 0))
    await expect(shrunk).rejects.toMatchObject(RANGE)
    const tooMany = store.read(tx => log.entries(tx, { after: -1, limit: 1001 }))
    await expect(tooMany).rejects.toMatchObject(RANGE)
  })
})
