import { generateKeyPairSync } from 'node:crypto'
import { CompactSign } from 'jose'
import { describe, expect, it } from 'vitest'
import { openStore } from '../store/index.ts'
import { temporaryStore } from '../store/temporary-store.test.fixture.ts'
import {
  type AuditEntry,
  AuditLog,
  encodeAuditEntry,
  leafHash,
  signCheckpoint,
  verifyCheckpoint,
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

describe('a checkpoint', () => {
  const identity = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const checkpoint = { origin: 'kms', size: 3, rootHash: new Uint8Array(32).fill(5), at }
  const wanted = { identityKey: identity.publicKey, origin: 'kms' }
  const CHECKPOINT = { code: 'CHECKPOINT' }

  it('comes back when it is the identity key’s, and of that log', async () => {
    const jws = await signCheckpoint(checkpoint, identity.privateKey)
    expect(await verifyCheckpoint(jws, wanted)).toEqual(checkpoint)
    const elsewhere = verifyCheckpoint(jws, { ...wanted, origin: 'another' })
    await expect(elsewhere).rejects.toMatchObject(CHECKPOINT)
    const forged = verifyCheckpoint(await signCheckpoint(checkpoint, other.privateKey), wanted)
    await expect(forged).rejects.toMatchObject(CHECKPOINT)
    const [header, , signature] = jws.split('.')
    const payload = Buffer.from('{"origin":"kms"}').toString('base64url')
    for (const bad of ['', 'a.b.c', `${header}.${payload}.${signature}`, jws.slice(0, -1)]) {
      await expect(verifyCheckpoint(bad, wanted)).rejects.toMatchObject(CHECKPOINT)
    }
  })

  it('is not another statement of the same key, nor one of another shape', async () => {
    const good = { origin: 'kms', size: 3, rootHash: 'A'.repeat(43), at: at.toISOString() }
    const sign = (payload: unknown, typ: string) =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader({ alg: 'ES256', typ })
        .sign(identity.privateKey)
    const typ = 'cloister-checkpoint+jws'
    expect(await verifyCheckpoint(await sign(good, typ), wanted)).toMatchObject({ size: 3 })
    const bad = [
      sign(good, 'cloister-released+jws'),
      ...[
        null,
        [],
        {},
        { ...good, size: -1 },
        { ...good, size: 1.5 },
        { ...good, size: '3' },
        { ...good, rootHash: 'AA' },
        { ...good, at: 'yesterday' },
        { ...good, at: '2026-01-01' },
        { ...good, more: 1 },
      ].map(payload => sign(payload, typ)),
    ]
    for (const jws of bad) {
      await expect(verifyCheckpoint(await jws, wanted)).rejects.toMatchObject(CHECKPOINT)
    }
  })
})
