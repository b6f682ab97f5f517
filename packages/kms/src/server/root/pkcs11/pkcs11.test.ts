import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assertMayTryPin, CK, withToken } from '@cloister/pkcs11'
import { importAesKey, makeTokens, PIN, SOFTHSM } from '@cloister/pkcs11/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rotateRoot } from '../../rotate-root.ts'
import { filledData } from '../../rotated-kms.test.fixture.ts'
import { temporaryFolder } from '../../store/temporary-store.test.fixture.ts'
import { openRootKey, type RootKey, Secret } from '../index.ts'
import type { Pkcs11Keeping } from './pkcs11.ts'
import { generateWrappingKey } from './wrapping-key.ts'

const at = new Date('2026-01-01T00:00:00Z')
const { modulePath, title } = SOFTHSM
const isThere = modulePath !== ''
let tokens = ''

beforeAll(() => {
  if (!isThere) return
  tokens = mkdtempSync(join(tmpdir(), 'cloister-tokens-'))
  makeTokens(tokens, ['one', 'two', 'twin', 'twin'])
})

afterAll(() => {
  if (isThere) rmSync(tokens, { recursive: true })
})

const derived = (root: RootKey): string =>
  Buffer.from(root.derive('row-mac').exposeBytes()).toString('hex')

async function keepingOf(tokenLabel: string, pin = PIN): Promise<Pkcs11Keeping> {
  const pinFile = join(await temporaryFolder(), 'pin')
  await writeFile(pinFile, `${pin}\n`, { mode: 0o600 })
  return { kind: 'pkcs11', modulePath, tokenLabel, pinFile }
}

/** A root key under a token, and what is needed to open it again. */
async function made(tokenLabel = 'one') {
  const folder = await temporaryFolder()
  const keeping = await keepingOf(tokenLabel)
  const root = await openRootKey({ ...keeping, folder, mayCreate: true })
  const path = join(folder, 'root.json')
  const opening = (changes: Partial<Pkcs11Keeping> = {}) =>
    openRootKey({ ...keeping, ...changes, folder, mayCreate: false })
  const file: { serial: string; keyId: string; wrapped: string } = JSON.parse(
    await readFile(path, 'utf8'),
  )
  const edit = async (changes: Partial<typeof file>) => {
    await writeFile(path, JSON.stringify({ ...file, ...changes }))
  }
  return { folder, keeping, root, path, opening, file, edit }
}

describe.skipIf(!isThere)(`a root key under a PKCS#11 token${title}`, () => {
  it('comes back with the token and its PIN, and lies nowhere', async () => {
    const { folder, opening, path, root } = await made()
    expect(derived(await opening())).toBe(derived(root))
    expect(await readdir(folder)).toEqual(['root.json'])
    const other = await made()
    expect(derived(other.root)).not.toBe(derived(root))
    expect(await readFile(path, 'utf8')).not.toContain(PIN)
  })

  it('is refused by another token, whatever its label', async () => {
    const { edit, file, opening } = await made()
    const two = await made('two')
    await expect(opening({ tokenLabel: 'two' })).rejects.toMatchObject({ code: 'TOKEN' })
    await expect(opening({ tokenLabel: 'none' })).rejects.toMatchObject({ code: 'TOKEN' })
    await edit({ serial: two.file.serial })
    await expect(opening({ tokenLabel: 'two' })).rejects.toMatchObject({ code: 'TOKEN_KEY' })
    await edit({ serial: two.file.serial, keyId: two.file.keyId })
    await expect(opening({ tokenLabel: 'two' })).rejects.toMatchObject({ code: 'UNWRAP' })
    await edit({ serial: file.serial })
    await opening()
  })

  it('is not made where two tokens have the label', async () => {
    await expect(made('twin')).rejects.toMatchObject({ code: 'TOKEN' })
  })

  it('is refused under another key of the same label, and under two of one id', async () => {
    const { edit, file, keeping, opening } = await made()
    const other = await made()
    await edit({ keyId: other.file.keyId })
    await expect(opening()).rejects.toMatchObject({ code: 'UNWRAP' })
    await edit({ keyId: randomBytes(16).toString('hex') })
    await expect(opening()).rejects.toMatchObject({ code: 'TOKEN_KEY' })
    await edit({})
    const where = { modulePath, label: keeping.tokenLabel, pin: Secret.from(Buffer.from(PIN)) }
    withToken(where, undefined, token => generateWrappingKey(token, Buffer.from(file.keyId, 'hex')))
    await expect(opening()).rejects.toMatchObject({ code: 'TOKEN_KEY' })
  })

  it('is refused under a key that somebody brought to the token', async () => {
    const { edit, opening } = await made('two')
    const keyId = randomBytes(16).toString('hex')
    importAesKey(tokens, 'two', keyId)
    await edit({ keyId })
    await expect(opening({ tokenLabel: 'two' })).rejects.toMatchObject({ code: 'TOKEN_KEY' })
  })

  it('is refused with a wrong PIN, which is tried once a start and locks nothing', async () => {
    const { opening, root } = await made()
    const { pinFile } = await keepingOf('one', '135791')
    for (let start = 0; start < 12; start++) {
      await expect(opening({ pinFile })).rejects.toMatchObject({ code: 'WRONG_PIN' })
    }
    expect(derived(await opening())).toBe(derived(root))
    await expect(opening({ pinFile })).rejects.toMatchObject({ code: 'WRONG_PIN' })
  })

  it('leaves the last try before a token locks to a person', () => {
    const flags = (bits: number) => ({ label: 'one', flags: BigInt(bits) })
    for (const bits of [CK.CKF_USER_PIN_FINAL_TRY, CK.CKF_USER_PIN_LOCKED, 0x70000]) {
      expect(() => assertMayTryPin(flags(bits))).toThrow(
        expect.objectContaining({ code: 'PIN_LOCKS' }),
      )
    }
    assertMayTryPin(flags(0x1040d))
  })

  it('is refused with a PIN that others may read, or none', async () => {
    const { keeping, opening } = await made()
    await chmod(keeping.pinFile, 0o644)
    await expect(opening()).rejects.toMatchObject({ code: 'MODE' })
    await expect(opening({ pinFile: '/nowhere' })).rejects.toMatchObject({ code: 'MISSING' })
    await chmod(keeping.pinFile, 0o600)
    const elsewhere = opening({ modulePath: '/nowhere.so' })
    await expect(elsewhere).rejects.toMatchObject({ code: 'PKCS11' })
  })

  it('is refused with any byte of what is stored exchanged', async () => {
    const { edit, file, opening } = await made()
    const wrapped = Buffer.from(file.wrapped, 'base64url')
    for (let index = 0; index < wrapped.length; index += 7) {
      const changed = Buffer.from(wrapped)
      changed[index] = (changed[index] ?? 0) ^ 1
      await edit({ wrapped: changed.toString('base64url') })
      await expect(opening(), `byte ${index}`).rejects.toMatchObject({ code: 'UNWRAP' })
    }
    await edit({ wrapped: (await made()).file.wrapped })
    await expect(opening()).rejects.toMatchObject({ code: 'UNWRAP' })
    for (const changes of [{ wrapped: '' }, { keyId: '00' }, { wrapped: `${file.wrapped}AA` }]) {
      await edit(changes)
      await expect(opening()).rejects.toMatchObject({ code: 'PARAMETERS' })
    }
  })

  it('takes over from a file by a rotation, and hands over to another token', {
    timeout: 60_000,
  }, async () => {
    const file = { kind: 'file' } as const
    const data = await filledData(file)
    const { dataDir } = data
    const [one, two] = [await keepingOf('one'), await keepingOf('two')]
    expect(await rotateRoot({ dataDir, from: file, to: one, at })).toBe('rotated')
    expect((await readdir(dataDir)).filter(name => name.startsWith('root'))).toEqual(['root.json'])
    await data.expectWhole(dataDir, one)
    await expect(data.expectWhole(dataDir, two)).rejects.toMatchObject({ code: 'TOKEN' })
    expect(await rotateRoot({ dataDir, from: one, to: two, at })).toBe('rotated')
    expect(await rotateRoot({ dataDir, from: two, to: two, at })).toBe('rotated')
    await data.expectWhole(dataDir, two)
  })
})
