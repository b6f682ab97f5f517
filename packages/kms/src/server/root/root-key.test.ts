import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { KeyWrap, openRootKey, RootKey, RootKeyError, Secret } from './index.ts'
import { unlockPassphraseFile } from './passphrase.ts'

const CHEAP = { n: 2 ** 14, r: 8, p: 1 }

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-root-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const derived = (root: RootKey): string =>
  Buffer.from(root.derive('row-mac').exposeBytes()).toString('hex')

const passphrase = (text: string): Secret => Secret.from(new TextEncoder().encode(text))

describe('a secret', () => {
  it('never prints', () => {
    const secret = Secret.from(new TextEncoder().encode('hunter2'))
    const shown = [
      inspect(secret, { showHidden: true, depth: 9 }),
      `${secret}`,
      JSON.stringify({ secret }),
      JSON.stringify(Object.entries(secret)),
      inspect(structuredClone(secret)),
    ].join()
    expect(shown).not.toContain('hunter2')
    expect(shown).not.toContain('104, 117')
    secret.dispose()
    expect(() => secret.exposeBytes()).toThrow()
  })

  it('gives copies', () => {
    const secret = Secret.from(Uint8Array.of(1, 2))
    secret.exposeBytes().fill(0)
    secret.with(bytes => bytes.fill(0))
    expect(secret.exposeBytes()).toEqual(Uint8Array.of(1, 2))
  })
})

describe('derived keys', () => {
  it('differ by root and purpose', () => {
    const keys = [1, 2].flatMap(fill => {
      const root = RootKey.from(new Uint8Array(32).fill(fill))
      const purposes = ['row-mac', 'row-set', 'cmk-wrap', 'secret-wrap', 'credential'] as const
      return purposes.map(purpose =>
        Buffer.from(root.derive(purpose).exposeBytes()).toString('hex'),
      )
    })
    expect(new Set(keys).size).toBe(keys.length)
  })
})

describe('a root key in a file', () => {
  it('is made once, with mode 0600 and nothing left beside it', async () => {
    const folder = await temporaryFolder()
    const source = { kind: 'file', folder, mayCreate: true } as const
    const made = await openRootKey(source)
    expect(await readdir(folder)).toEqual(['root.key'])
    expect((await stat(join(folder, 'root.key'))).mode & 0o777).toBe(0o600)
    expect(derived(await openRootKey({ ...source, mayCreate: false }))).toBe(derived(made))
    expect(derived(await openRootKey(source))).toBe(derived(made))
  })

  it.each([0o640, 0o604, 0o660, 0o666, 0o601])('is refused with mode %o', async mode => {
    const folder = await temporaryFolder()
    const source = { kind: 'file', folder, mayCreate: true } as const
    await openRootKey(source)
    await chmod(join(folder, 'root.key'), mode)
    await expect(openRootKey(source)).rejects.toMatchObject({ code: 'MODE' })
  })

  it.each([0, 31, 33, 64, 5000])('is refused with %i bytes', async size => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'root.key'), new Uint8Array(size), { mode: 0o600 })
    const opening = openRootKey({ kind: 'file', folder, mayCreate: true })
    await expect(opening).rejects.toMatchObject({ code: 'SIZE' })
  })

  it('is refused where it is a symbolic link or a folder, and not made where it may not be', async () => {
    const folder = await temporaryFolder()
    const source = { kind: 'file', folder, mayCreate: false } as const
    await expect(openRootKey(source)).rejects.toMatchObject({ code: 'MISSING' })
    expect(await readdir(folder)).toEqual([])
    await writeFile(join(folder, 'elsewhere'), new Uint8Array(32), { mode: 0o600 })
    await symlink(join(folder, 'elsewhere'), join(folder, 'root.key'))
    await expect(openRootKey(source)).rejects.toMatchObject({ code: 'MODE' })
  })

  it('is one when several start at once: one makes it, the others fail or read it', async () => {
    const folder = await temporaryFolder()
    const source = { kind: 'file', folder, mayCreate: true } as const
    const opened = await Promise.allSettled(Array.from({ length: 8 }, () => openRootKey(source)))
    const now = derived(await openRootKey(source))
    for (const result of opened) {
      if (result.status === 'fulfilled') expect(derived(result.value)).toBe(now)
      else expect(result.reason).toMatchObject({ code: 'IO' })
    }
    expect(await readdir(folder)).toEqual(['root.key'])
  })
})

describe('a root key from a passphrase', () => {
  it('comes back with the passphrase, and by name with no other', async () => {
    const folder = await temporaryFolder()
    const source = { kind: 'passphrase', folder, mayCreate: true, cost: CHEAP } as const
    const right = passphrase('correct horse battery')
    const made = await openRootKey({ ...source, passphrase: right })
    expect(derived(await openRootKey({ ...source, passphrase: right }))).toBe(derived(made))
    const wrong = openRootKey({ ...source, passphrase: passphrase('correct horse') })
    await expect(wrong).rejects.toMatchObject({ code: 'WRONG_PASSPHRASE' })
    const other = openRootKey({ kind: 'file', folder, mayCreate: true })
    await expect(other).rejects.toMatchObject({ code: 'KIND' })
    const stored = await readFile(join(folder, 'root.json'), 'utf8')
    expect(stored).not.toContain(
      Buffer.from(made.derive('row-mac').exposeBytes()).toString('base64url'),
    )
    expect((await stat(join(folder, 'root.json'))).mode & 0o777).toBe(0o600)
  })

  it('is not made from a passphrase of a few letters, or at a cost that is none', async () => {
    const folder = await temporaryFolder()
    const source = { kind: 'passphrase', folder, mayCreate: true } as const
    const short = openRootKey({ ...source, cost: CHEAP, passphrase: passphrase('1234567') })
    await expect(short).rejects.toMatchObject({ code: 'PARAMETERS' })
    const long = passphrase('correct horse battery')
    const cheap = openRootKey({ ...source, cost: { n: 2, r: 8, p: 1 }, passphrase: long })
    await expect(cheap).rejects.toMatchObject({ code: 'PARAMETERS' })
    expect(await readdir(folder)).toEqual([])
  })

  it('fails with a code on any file at all', async () => {
    const anyJson = fc.json().map(text => new TextEncoder().encode(text))
    const nearly = fc.record({
      format: fc.constant('cloister root v1'),
      n: fc.oneof(fc.integer(), fc.constant(2 ** 40)),
      r: fc.integer(),
      p: fc.integer(),
      salt: fc.string(),
      check: fc.string(),
    })
    const bytes = nearly.map(value => new TextEncoder().encode(JSON.stringify(value)))
    const file = fc.oneof(fc.uint8Array(), anyJson, bytes)
    await fc.assert(
      fc.asyncProperty(file, async content => {
        const opening = unlockPassphraseFile(content, passphrase('correct horse battery'))
        await expect(opening).rejects.toBeInstanceOf(RootKeyError)
      }),
    )
  })
})

describe('key wrapping', () => {
  it('is undone with the same associated data only, and by no changed byte', () => {
    const wrap = new KeyWrap(new Uint8Array(32).fill(1))
    const bytes = fc.uint8Array({ maxLength: 64 })
    fc.assert(
      fc.property(bytes, bytes, bytes, fc.nat(), fc.nat(7), (plain, aad, other, at, bit) => {
        const wrapped = wrap.wrap(plain, aad)
        expect(wrap.unwrap(wrapped, aad)).toEqual(plain)
        if (Buffer.compare(aad, other) !== 0) expect(wrap.unwrap(wrapped, other)).toBeUndefined()
        expect(wrap.unwrap(wrapped.subarray(0, at % wrapped.length), aad)).toBeUndefined()
        const index = at % wrapped.length
        wrapped[index] = (wrapped[index] ?? 0) ^ (1 << bit)
        expect(wrap.unwrap(wrapped, aad)).toBeUndefined()
      }),
    )
  })

  it('never gives the same bytes twice', () => {
    const wrap = new KeyWrap(new Uint8Array(32))
    const once = () => Buffer.from(wrap.wrap(new Uint8Array(32), new Uint8Array())).toString('hex')
    expect(once()).not.toBe(once())
  })
})
