import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSimPlatform, type SimEnclave, simSealingKey } from '@cloister/attestation'
import { describe, expect, it } from 'vitest'
import { rotateRoot } from '../rotate-root.ts'
import { filledData } from '../rotated-kms.test.fixture.ts'
import { temporaryFolder } from '../store/temporary-store.test.fixture.ts'
import { type BoundTo, openRootKey, type RootKey, Secret } from './index.ts'

const at = new Date('2026-01-01T00:00:00Z')
const platform = createSimPlatform({ createdAt: at })
const ENCLAVE = {
  mrEnclave: new Uint8Array(32).fill(1),
  mrSigner: new Uint8Array(32).fill(2),
  isvProdId: 1,
  isvSvn: 2,
  debug: false,
}
type Enclave = Omit<SimEnclave, 'reportData'>
const OTHER_CODE = { mrEnclave: new Uint8Array(32).fill(9) }

const keepingOf = (boundTo: BoundTo, changes: Partial<Enclave> = {}, on = platform) => {
  const enclave = { ...ENCLAVE, ...changes }
  return {
    kind: 'sealed',
    boundTo,
    source: {
      tee: 'sim',
      isvSvn: enclave.isvSvn,
      sealingKey: async (request: Parameters<typeof simSealingKey>[2]) =>
        Secret.from(simSealingKey(on, enclave, request)),
    },
  } as const
}

const derived = (root: RootKey): string =>
  Buffer.from(root.derive('row-mac').exposeBytes()).toString('hex')

async function made(boundTo: BoundTo) {
  const folder = await temporaryFolder()
  const root = await openRootKey({ ...keepingOf(boundTo), folder, mayCreate: true })
  const opening = async (keeping: ReturnType<typeof keepingOf>) =>
    derived(await openRootKey({ ...keeping, folder, mayCreate: false }))
  return { path: join(folder, 'root.json'), key: derived(root), opening }
}

const UNWRAP = { code: 'UNWRAP' }

describe('a root key sealed to an enclave', () => {
  it('comes back to that enclave on that platform', async () => {
    for (const boundTo of ['measurement', 'signer'] as const) {
      const { key, opening } = await made(boundTo)
      expect(await opening(keepingOf(boundTo))).toBe(key)
    }
  })

  it('is refused by another enclave, a debug one, and another platform', async () => {
    const { opening } = await made('measurement')
    for (const changes of [OTHER_CODE, { debug: true }]) {
      await expect(opening(keepingOf('measurement', changes))).rejects.toMatchObject(UNWRAP)
    }
    const elsewhere = createSimPlatform({ createdAt: at })
    const moved = opening(keepingOf('measurement', {}, elsewhere))
    await expect(moved).rejects.toMatchObject(UNWRAP)
  })

  it('bound to its signer, goes to the signer’s next version, and to nobody else', async () => {
    const { key, opening } = await made('signer')
    expect(await opening(keepingOf('signer', { ...OTHER_CODE, isvSvn: 3 }))).toBe(key)
    const others = [{ mrSigner: new Uint8Array(32).fill(9) }, { isvProdId: 2 }, { debug: true }]
    for (const changes of others) {
      await expect(opening(keepingOf('signer', changes))).rejects.toMatchObject(UNWRAP)
    }
  })

  it('is refused by an earlier version than sealed it, whatever the file says', async () => {
    const { opening, path } = await made('signer')
    const earlier = keepingOf('signer', { isvSvn: 1 })
    await expect(opening(earlier)).rejects.toMatchObject({ code: 'SVN' })
    const file = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify({ ...file, isvSvn: 1 }))
    await expect(opening(earlier)).rejects.toMatchObject(UNWRAP)
    expect(() =>
      simSealingKey(
        platform,
        { ...ENCLAVE, isvSvn: 1 },
        {
          boundTo: 'signer',
          isvSvn: 2,
          keyId: new Uint8Array(32),
        },
      ),
    ).toThrow(expect.objectContaining({ code: 'SVN' }))
  })

  it('is refused when what is stored was altered, or is bound otherwise', async () => {
    const { key, opening, path } = await made('measurement')
    const file = JSON.parse(await readFile(path, 'utf8'))
    const signer = keepingOf('signer')
    await expect(opening(signer)).rejects.toMatchObject({ code: 'KIND' })
    const edits: readonly [object, string, ReturnType<typeof keepingOf>][] = [
      [{ boundTo: 'signer' }, 'UNWRAP', signer],
      [{ isvSvn: 1 }, 'UNWRAP', keepingOf('measurement')],
      [{ keyId: '00'.repeat(32) }, 'UNWRAP', keepingOf('measurement')],
      [{ wrapped: 'AAAA' }, 'UNWRAP', keepingOf('measurement')],
      [{ tee: 'sgx' }, 'KIND', keepingOf('measurement')],
      [{ isvSvn: -1 }, 'PARAMETERS', keepingOf('measurement')],
      [{ keyId: '00' }, 'PARAMETERS', keepingOf('measurement')],
    ]
    for (const [changes, code, keeping] of edits) {
      await writeFile(path, JSON.stringify({ ...file, ...changes }))
      await expect(opening(keeping), JSON.stringify(changes)).rejects.toMatchObject({ code })
    }
    await writeFile(path, JSON.stringify(file))
    expect(await opening(keepingOf('measurement'))).toBe(key)
  })

  it('goes over an upgrade by rotations, after which the earlier version is out', async () => {
    const file = { kind: 'file' } as const
    const data = await filledData(file)
    const { dataDir } = data
    const [old, oldSigner] = [keepingOf('measurement'), keepingOf('signer')]
    const upgrade = { ...OTHER_CODE, isvSvn: 3 }
    const [newSigner, fresh] = [keepingOf('signer', upgrade), keepingOf('measurement', upgrade)]
    await rotateRoot({ dataDir, from: file, to: old, at })
    expect((await readdir(dataDir)).filter(name => name.startsWith('root'))).toEqual(['root.json'])
    await data.expectWhole(dataDir, old)
    await rotateRoot({ dataDir, from: old, to: oldSigner, at })
    await data.expectWhole(dataDir, newSigner)
    await rotateRoot({ dataDir, from: newSigner, to: newSigner, at })
    await expect(data.expectWhole(dataDir, oldSigner)).rejects.toMatchObject({ code: 'SVN' })
    await rotateRoot({ dataDir, from: newSigner, to: fresh, at })
    await data.expectWhole(dataDir, fresh)
  }, 60_000)
})
