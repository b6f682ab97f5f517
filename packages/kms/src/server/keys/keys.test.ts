import { randomBytes } from 'node:crypto'
import { Dek, newDatasetId, newFileId, type Sha256 } from '@cloister/sealed'
import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { RootKey } from '../root/index.ts'
import type { StoreTransaction } from '../store/index.ts'
import { readDatabase, temporaryStore } from '../store/temporary-store.test.fixture.ts'
import { issueReleaseGrant, ReleaseGrant } from './grant.ts'
import { type DekContext, type KeyMode, Keys, type UsableKey, type UsableOpenKey } from './index.ts'

const at = new Date('2026-01-01T00:00:00Z')

const contextOf = (): DekContext => ({
  datasetId: newDatasetId(),
  fileId: newFileId(),
  fixedDigest: new Uint8Array(randomBytes(32)) as Sha256,
})

async function keyOf(mode: KeyMode) {
  const opened = await temporaryStore()
  const keys = new Keys(opened.root)
  const { keyId } = await opened.store.write(tx => keys.create(tx, { owner: 'a', mode, at }))
  return { ...opened, keys, keyId }
}

function asOpen(key: UsableKey): UsableOpenKey {
  if (key.mode !== 'open') throw new Error('wanted an open key')
  return key
}

describe('keys', () => {
  it('are described, listed by owner, disabled and enabled', async () => {
    const { keyId, keys, store } = await keyOf('attested-only')
    const second = await store.write(tx =>
      keys.create(tx, {
        owner: 'a',
        mode: 'open',
        description: 'people',
        at: new Date(at.getTime() + 1),
      }),
    )
    await store.write(tx => keys.create(tx, { owner: 'b', mode: 'open', at }))
    const listed = await store.read(tx => keys.list(tx, 'a', { limit: 10 }))
    expect(listed.next).toBeNull()
    expect(listed.items.map(key => key.keyId)).toEqual([keyId, second.keyId])
    expect(second).toEqual({
      keyId: second.keyId,
      owner: 'a',
      mode: 'open',
      state: 'enabled',
      spec: 'SYMMETRIC_DEFAULT',
      usage: 'ENCRYPT_DECRYPT',
      origin: 'internal',
      currentVersion: 1,
      createdAt: '2026-01-01T00:00:00.001Z',
      description: 'people',
      tags: {},
      rotation: null,
      deletionAt: null,
    })
    await store.write(tx => keys.setState(tx, keyId, 'disabled'))
    const usable = () => store.read(tx => keys.usable(tx, keyId))
    await expect(usable()).rejects.toMatchObject({ code: 'KEY_DISABLED' })
    expect((await store.read(tx => keys.get(tx, keyId))).mode).toBe('attested-only')
    await store.write(tx => keys.setState(tx, keyId, 'enabled'))
    expect(await usable()).toMatchObject({ state: 'enabled' })
    const absent = store.read(tx => keys.get(tx, 'absent'))
    await expect(absent).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' })
  })

  it('leave material that was given to whoever gave it: a transaction may be run again', async () => {
    const { keys, store } = await keyOf('open')
    const material = new Uint8Array(randomBytes(32))
    const given = Uint8Array.from(material)
    await store.write(tx => keys.create(tx, { owner: 'a', mode: 'open', material: given, at }))
    expect(given).toEqual(material)
  })

  it('keep their material out of the database in plaintext, and from another root key', async () => {
    const { keyId, keys, path, store } = await keyOf('open')
    const context = contextOf()
    const wrapped = await store.read(async tx =>
      keys.wrapDek(tx, await keys.usable(tx, keyId), Dek.generate(), context),
    )
    const [row] = readDatabase(path, 'select wrapped from key_versions')
    expect(Buffer.from(String(row?.['wrapped']), 'base64url')).toHaveLength(61)
    const others = new Keys(RootKey.from(new Uint8Array(32).fill(9)))
    const opening = store.read(async tx =>
      others.unwrapDek(tx, asOpen(await others.usable(tx, keyId)), wrapped, context),
    )
    await expect(opening).rejects.toMatchObject({ code: 'KEY_VERSION' })
  })
})

describe('a wrapped DEK', () => {
  it('comes back under its context and version alone', async () => {
    const { keyId, keys, store } = await keyOf('open')
    const context = contextOf()
    const dek = Dek.generate()
    const unwrap = async (tx: StoreTransaction, bytes: Uint8Array, of: DekContext, version = 1) => {
      const key = asOpen(await keys.usable(tx, keyId))
      return keys.unwrapDek(tx, key, { cmkVersion: version, wrappedDek: bytes }, of)
    }
    const { cmkVersion, wrappedDek } = await store.read(async tx =>
      keys.wrapDek(tx, await keys.usable(tx, keyId), dek, context),
    )
    expect(cmkVersion).toBe(1)
    expect(wrappedDek).toHaveLength(61)
    expect(wrappedDek[0]).toBe(1)
    const same = await store.read(tx => unwrap(tx, wrappedDek, context))
    expect(same.exposeBytes()).toEqual(dek.exposeBytes())
    const other = contextOf()
    for (const name of ['datasetId', 'fileId', 'fixedDigest'] as const) {
      const wrong = { ...context, [name]: other[name] }
      const opening = store.read(tx => unwrap(tx, wrappedDek, wrong))
      await expect(opening, name).rejects.toMatchObject({ code: 'UNWRAP' })
    }
    await store.write(tx => keys.rotate(tx, keyId, at))
    const again = await store.read(tx => unwrap(tx, wrappedDek, context))
    expect(again.exposeBytes()).toEqual(dek.exposeBytes())
    const moved = store.read(tx => unwrap(tx, wrappedDek, context, 2))
    await expect(moved).rejects.toMatchObject({ code: 'UNWRAP' })
    for (const version of [0, 3, -1, 1.5, Number.NaN, 2 ** 40]) {
      const absent = store.read(tx => unwrap(tx, wrappedDek, context, version))
      await expect(absent).rejects.toMatchObject({ code: 'KEY_VERSION' })
    }
    const fresh = await store.read(async tx =>
      keys.wrapDek(tx, await keys.usable(tx, keyId), dek, context),
    )
    expect(fresh.cmkVersion).toBe(2)
  })

  it('is refused with one code whatever bytes it has', async () => {
    const { keyId, keys, store } = await keyOf('open')
    const context = contextOf()
    const good = await store.read(async tx =>
      keys.wrapDek(tx, await keys.usable(tx, keyId), Dek.generate(), context),
    )
    const flipped = fc.nat(61 * 8 - 1).map(bit => {
      const bytes = Uint8Array.from(good.wrappedDek)
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return bytes
    })
    const cut = fc.nat(60).map(length => good.wrappedDek.subarray(0, length))
    const longer = fc.constant(Uint8Array.from([...good.wrappedDek, 0]))
    const any = fc.uint8Array({ maxLength: 100 })
    await fc.assert(
      fc.asyncProperty(fc.oneof(flipped, cut, longer, any), async wrappedDek => {
        const opening = store.read(async tx => {
          const key = asOpen(await keys.usable(tx, keyId))
          return keys.unwrapDek(tx, key, { cmkVersion: 1, wrappedDek }, context)
        })
        await expect(opening).rejects.toMatchObject({ code: 'UNWRAP' })
      }),
      { numRuns: 50 },
    )
  })

  it('of one key does not open under another', async () => {
    const { keyId, keys, store } = await keyOf('open')
    const context = contextOf()
    const other = await store.write(tx => keys.create(tx, { owner: 'a', mode: 'open', at }))
    const opening = store.read(async tx => {
      const wrapped = await keys.wrapDek(tx, await keys.usable(tx, keyId), Dek.generate(), context)
      return keys.unwrapDek(tx, asOpen(await keys.usable(tx, other.keyId)), wrapped, context)
    })
    await expect(opening).rejects.toMatchObject({ code: 'UNWRAP' })
  })
})

describe('an attested-only key', () => {
  it('unwraps for no caller: not by type, and not by a cast', async () => {
    const { keyId, keys, store } = await keyOf('attested-only')
    expectTypeOf<UsableKey>().not.toExtend<Parameters<typeof keys.unwrapDek>[1]>()
    const context = contextOf()
    const opening = store.read(async tx => {
      const key = await keys.usable(tx, keyId)
      const wrapped = await keys.wrapDek(tx, key, Dek.generate(), context)
      return keys.unwrapDek(tx, key as unknown as UsableOpenKey, wrapped, context)
    })
    await expect(opening).rejects.toMatchObject({ code: 'KEY_MODE' })
    const forged = store.read(async tx => {
      const key = await keys.usable(tx, keyId)
      const wrapped = await keys.wrapDek(tx, key, Dek.generate(), context)
      const open = { ...key, mode: 'open' } as unknown as UsableOpenKey
      return keys.unwrapDek(tx, open, wrapped, context)
    })
    await expect(forged).rejects.toMatchObject({ code: 'KEY_MODE' })
  })

  it('releases and seals on a grant for exactly that', async () => {
    const { keyId, keys, store } = await keyOf('attested-only')
    const [context, elsewhere] = [contextOf(), contextOf()]
    const { datasetId } = context
    const dek = Dek.generate()
    await store.read(async tx => {
      const key = await keys.usable(tx, keyId)
      const wrapped = await keys.wrapDek(tx, key, dek, context)
      const release = issueReleaseGrant({ action: 'release', keyId, datasetId })
      const seal = issueReleaseGrant({ action: 'seal', keyId, datasetId })
      const released = await keys.releaseDek(tx, key, wrapped, context, release)
      expect(released.exposeBytes()).toEqual(dek.exposeBytes())
      const sealed = await keys.sealDek(tx, key, context, seal)
      const back = await keys.releaseDek(tx, key, sealed, context, release)
      expect(back.exposeBytes()).toEqual(sealed.dek.exposeBytes())
      const refused = [
        keys.releaseDek(tx, key, wrapped, context, seal),
        keys.sealDek(tx, key, context, release),
        keys.sealDek(tx, key, elsewhere, seal),
        ...['release', 'seal'].map(action => {
          const scope = { action: action as 'release', keyId: 'another', datasetId }
          return keys.releaseDek(tx, key, wrapped, context, issueReleaseGrant(scope))
        }),
        keys.releaseDek(
          tx,
          key,
          wrapped,
          context,
          issueReleaseGrant({ action: 'release', keyId, datasetId: elsewhere.datasetId }),
        ),
      ]
      for (const refusal of refused) await expect(refusal).rejects.toMatchObject({ code: 'GRANT' })
    })
  })

  it('takes nothing for a grant that was not issued as one', () => {
    expectTypeOf<{ covers: () => boolean }>().not.toExtend<ReleaseGrant>()
    const fake: ReleaseGrant = Object.create(ReleaseGrant.prototype)
    expect(() => fake.covers({ action: 'release', keyId: 'k', datasetId: 'd' })).toThrow(TypeError)
  })
})
