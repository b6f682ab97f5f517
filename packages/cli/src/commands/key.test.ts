import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../output/exit-codes.ts'
import { type Ended, type Served, served } from '../served.test.support.ts'

let world: Served

beforeAll(async () => {
  world = await served()
  const data = join(world.folder, 'home', 'kms')
  const enrolled = await cloister(
    ...['enroll', '--pin', join(data, 'kms.json')],
    ...['--token-file', join(data, 'enrolment-token')],
  )
  expect(enrolled.code, enrolled.stderr).toBe(0)
}, 60_000)

afterAll(() => world.stop())

const cloister = (...argv: readonly string[]) => world.run(argv)

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { code, stderr, stdout } = await cloister('--json', ...argv)
  expect(code, stderr).toBe(0)
  return JSON.parse(stdout.toString())
}

function refusedWith({ code, stderr }: Ended, exit: number, text: string): void {
  expect(stderr).toContain(text)
  expect(code).toBe(exit)
}

const path = (name: string) => join(world.folder, name)

describe('cloister key', { timeout: 120_000 }, () => {
  it('makes, describes, tags, plans and names keys', async () => {
    const made = await json<{ keyId: string }>(
      ...['key', 'create', '--open', '--alias', 'results', '--tag', 'team=a', '--description', 'x'],
    )
    refusedWith(
      await cloister('key', 'create', '--alias', 'results'),
      EXIT.refused,
      'next: have the alias name this key instead',
    )
    await cloister('key', 'tag', 'results', 'cost=17', 'team=b')
    await cloister('key', 'untag', 'results', 'cost')
    const described = await cloister('key', 'describe', 'results')
    for (const text of [made.keyId, 'open', 'enabled', 'team=b', 'on demand', 'x']) {
      expect(described.stdout.toString()).toContain(text)
    }
    expect(described.stdout.toString()).not.toContain('cost')
    refusedWith(await cloister('key', 'rotation', 'results'), EXIT.usage, '--every or --off')
    const planned = await cloister('key', 'rotation', 'results', '--every', '90')
    expect(planned.stdout.toString()).toContain('every 90 days')
    await cloister('key', 'rotation', 'results', '--off')
    await cloister('key', 'alias', 'create', 'second', 'results')
    const other = await json<{ keyId: string }>('key', 'create')
    await cloister('key', 'alias', 'update', 'second', other.keyId)
    const aliases = (await cloister('key', 'alias', 'list')).stdout.toString()
    expect(aliases).toMatch(new RegExp(`second +${other.keyId}`))
    refusedWith(await cloister('key', 'delete', 'second', '--days', '3'), EXIT.usage, '7 to 30')
    expect((await cloister('key', 'delete', 'second', '--days', '7')).code).toBe(0)
    refusedWith(await cloister('key', 'rotate', other.keyId), EXIT.refused, 'KEY_STATE')
    expect((await cloister('key', 'cancel-deletion', 'second')).stdout.toString()).toContain(
      'disabled',
    )
    await cloister('key', 'alias', 'delete', 'second')
    refusedWith(await cloister('key', 'describe', 'second'), EXIT.usage, 'the aliases are: results')
    expect((await cloister('key', 'list')).stdout.toString()).toContain('SYMMETRIC_DEFAULT')
  })

  it('encrypts and decrypts bytes that come by file or standard input', async () => {
    await json('key', 'create', '--open', '--alias', 'data')
    const secret = randomBytes(40)
    const encrypted = await world.run(
      ['key', 'encrypt', 'data', '-', '--context', 'db=people', '--context', 'a=b'],
      secret,
    )
    expect(encrypted.code, encrypted.stderr).toBe(0)
    await writeFile(path('secret.enc'), encrypted.stdout)
    refusedWith(
      await cloister('key', 'decrypt', 'secret.enc', '--context', 'db=people'),
      EXIT.refused,
      '--context',
    )
    const context = ['--context', 'a=b', '--context', 'db=people']
    const decrypted = await cloister('key', 'decrypt', 'secret.enc', '--key', 'data', ...context)
    expect(decrypted.stdout.equals(secret)).toBe(true)
    const out = await cloister('key', 'decrypt', 'secret.enc', ...context, '--out', 'secret')
    expect(out.code, out.stderr).toBe(0)
    expect((await stat(path('secret'))).mode & 0o777).toBe(0o600)
    expect((await readFile(path('secret'))).equals(secret)).toBe(true)
    refusedWith(
      await cloister('key', 'decrypt', 'secret.enc', ...context, '--out', 'secret'),
      EXIT.usage,
      'already there',
    )
    await cloister('key', 'rotate', 'data')
    await cloister('key', 're-encrypt', 'secret.enc', ...context, '--out', 'secret.new')
    const again = await json<{ plaintext: string }>('key', 'decrypt', 'secret.new', ...context)
    expect(Buffer.from(again.plaintext, 'base64url').equals(secret)).toBe(true)
    const large = await world.run(['key', 'encrypt', 'data', '-'], randomBytes(5000))
    refusedWith(large, EXIT.usage, 'at most 4096 bytes')
    refusedWith(await world.run(['key', 'encrypt', 'data', '-']), EXIT.usage, 'is empty')
    await cloister('key', 'data-key', 'data', 'dk.enc', '--plaintext', 'dk')
    const key = await cloister('key', 'decrypt', 'dk.enc')
    expect(key.stdout.equals(await readFile(path('dk')))).toBe(true)
    expect(key.stdout).toHaveLength(32)
    await json('key', 'create', '--alias', 'closed')
    const closed = await world.run(['key', 'encrypt', 'closed', '-'], secret)
    refusedWith(closed, EXIT.refused, 'KEY_ATTESTED_ONLY')
  })

  it('signs what OpenSSL verifies, and tells a false signature by its exit code', async () => {
    await json('key', 'create', '--open', '--spec', 'ECC_NIST_P256', '--alias', 'reports')
    await writeFile(path('report'), 'all is well\n')
    expect((await cloister('key', 'sign', 'reports', 'report', 'report.sig')).code).toBe(0)
    await writeFile(path('reports.pem'), (await cloister('key', 'public-key', 'reports')).stdout)
    const said = execFileSync(
      'openssl',
      ['dgst', '-sha256', '-verify', 'reports.pem', '-signature', 'report.sig', 'report'],
      { cwd: world.folder },
    )
    expect(said.toString()).toContain('Verified OK')
    expect((await cloister('key', 'verify', 'reports', 'report', 'report.sig')).code).toBe(0)
    await writeFile(path('report'), 'all is not well\n')
    const verified = await cloister('key', 'verify', 'reports', 'report', 'report.sig')
    expect(verified.code).toBe(EXIT.notAuthentic)
    expect(verified.stdout.toString()).toContain('not signed')
    const rsa = ['--spec', 'RSA_2048', '--usage', 'SIGN_VERIFY', '--alias', 'rsa']
    await json('key', 'create', '--open', ...rsa)
    const several = await cloister('key', 'sign', 'rsa', 'report', 'rsa.sig')
    refusedWith(several, EXIT.usage, 'RSASSA_PSS_SHA_256')
    const spec = await cloister('key', 'create', '--open', '--spec', 'DES')
    refusedWith(spec, EXIT.usage, 'wanted SYMMETRIC_DEFAULT')
  })

  it('brings material of one’s own', async () => {
    await json('key', 'create', '--open', '--external', '--alias', 'brought')
    refusedWith(
      await world.run(['key', 'encrypt', 'brought', '-'], randomBytes(3)),
      EXIT.refused,
      'KEY_STATE',
    )
    refusedWith(
      await world.run(['key', 'import', 'brought', '-'], randomBytes(31)),
      EXIT.refused,
      'IMPORT_MATERIAL',
    )
    const imported = await world.run(['key', 'import', 'brought', '-'], randomBytes(32))
    expect(imported.stdout.toString()).toContain('enabled')
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    await writeFile(path('key.der'), privateKey.export({ type: 'pkcs8', format: 'der' }))
    await json(
      'key',
      'create',
      '--open',
      '--external',
      '--spec',
      'ECC_NIST_P384',
      '--alias',
      'p384',
    )
    expect((await cloister('key', 'import', 'p384', 'key.der')).code).toBe(0)
  })
})

describe('cloister rewrap, of a folder', { timeout: 120_000 }, () => {
  it('renews all below it, and tells what it could not', async () => {
    await json('key', 'create', '--alias', 'patients')
    await writeFile(path('people.csv'), 'name\nada\n')
    await mkdir(path('sealed'))
    for (const name of ['one', 'two']) {
      const sealed = await cloister('encrypt', 'people.csv', `sealed/${name}`, '--key', 'patients')
      expect(sealed.code, sealed.stderr).toBe(0)
    }
    await cloister('key', 'rotate', 'patients')
    expect(await json('rewrap', 'sealed')).toMatchObject({ files: 2, rewrapped: 2, failed: [] })
    const again = await cloister('rewrap', 'sealed')
    expect(again.stdout.toString()).toContain('0 of 2 sealed files')
    await cloister('key', 'rotate', 'patients')
    const [part = ''] = (await readdir(path('sealed/one'))).filter(name => name.endsWith('.sealed'))
    const file = join(path('sealed/one'), part)
    await writeFile(file, (await readFile(file)).subarray(0, 2000))
    const failed = await cloister('rewrap', 'sealed')
    expect(failed.code).toBe(EXIT.refused)
    expect(failed.stdout.toString()).toContain(`sealed/one/${part}`)
    expect(failed.stdout.toString()).toContain('1 of 2 sealed files')
  })
})

describe('the older scripts’ verbs', { timeout: 60_000 }, () => {
  it('generatekeys makes a key, and takes no credentials', async () => {
    const made = await json<{ keyId: string; mode: string }>('generatekeys', '--out', 'primary_key')
    expect(made.mode).toBe('attested-only')
    expect(await readFile(path('primary_key'), 'utf8')).toBe(`${made.keyId}\n`)
    const older = await cloister('generatekeys', 'an-app-id', 'an-api-key')
    refusedWith(older, EXIT.usage, 'cloister enroll')
    expect(older.stderr).not.toContain('an-api-key')
    expect((await cloister('generatekey', '--open', '--alias', 'older')).code).toBe(0)
  })
})
