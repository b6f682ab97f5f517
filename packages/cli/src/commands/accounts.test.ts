import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { readAppraisalPolicy } from '@cloister/attestation'
import { ENROLMENT_FILE, type RunningKms, startKms } from '@cloister/kms/server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt, type Ended } from '../cloister.test.support.ts'

const openssl = promisify(execFile)

let folder: string
let kms: RunningKms
const said: string[] = []

/** Runs the command as one of several people would, each with a home of their own. */
async function cloister(home: string, ...argv: readonly string[]): Promise<Ended> {
  const ended = await cloisterAt({ home: join(folder, home), cwd: folder }, ...argv)
  said.push(ended.stdout, ended.stderr)
  return ended
}

async function json<T>(home: string, ...argv: readonly string[]): Promise<T> {
  const { code, stderr, stdout } = await cloister(home, '--json', ...argv)
  expect([argv, code, stderr]).toEqual([argv, 0, ''])
  return JSON.parse(stdout)
}

/** A home that has pinned the key service, with a credential. */
async function newHome(home: string, credential?: string): Promise<void> {
  const at = join(folder, home)
  await mkdir(at, { recursive: true, mode: 0o700 })
  await writeFile(join(at, 'kms.json'), JSON.stringify(kms.pin), { mode: 0o600 })
  if (credential !== undefined) await writeFile(join(at, 'credential'), credential, { mode: 0o600 })
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-accounts-'))
  kms = await startKms({
    dataDir: join(folder, 'data'),
    port: 0,
    rootKey: { kind: 'file' },
    roots: [],
    collateralDir: folder,
    appraisal: readAppraisalPolicy({
      version: 1,
      tees: [],
      platform: { tcbStatuses: ['UpToDate'] },
    }),
  })
  await newHome('operator')
}, 60_000)

afterAll(async () => {
  await kms.close()
  await rm(folder, { recursive: true, force: true })
})

const OPERATOR = ['--operator-token-file', 'data/operator-token'] as const

describe('a tenant, its accounts and their credentials', () => {
  it('from the operator’s token to a revoked credential', { timeout: 240_000 }, async () => {
    const noToken = await cloister('operator', 'tenant', 'create', 'x')
    expect([noToken.code, noToken.stderr]).toEqual([5, expect.stringContaining('operator-token')])
    const tenant = await json<{ tenantId: string }>(
      'operator',
      'tenant',
      'create',
      'City',
      ...OPERATOR,
    )
    expect((await cloister('operator', 'tenant', 'list', ...OPERATOR)).stdout).toContain('City')
    const administrator = await json<{ accountId: string; file: string; role: string }>(
      ...(['operator', 'tenant', 'administrator', tenant.tenantId, 'Ada'] as const),
      ...OPERATOR,
      ...['--out', 'ada.credential'],
    )
    expect(administrator).toMatchObject({ role: 'administrator', file: 'ada.credential' })
    const ada = join(folder, 'ada.credential')
    expect((await stat(ada)).mode & 0o777).toBe(0o600)
    await newHome('ada', await readFile(ada, 'utf8'))

    const made = ['account', 'create', 'etl', '--service', '--out', 'etl.credential']
    const unsaid = await cloister('ada', ...made)
    expect([unsaid.code, unsaid.stderr]).toEqual([2, expect.stringContaining('--all-scopes')])
    const etl = await json<{ accountId: string; credentialId: string }>(
      'ada',
      ...made,
      '--all-scopes',
    )
    const again = await cloister('ada', ...made, '--all-scopes')
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('new file')])
    await newHome('etl', await readFile(join(folder, 'etl.credential'), 'utf8'))
    expect((await cloister('etl', 'account', 'show')).stdout).toContain('member of tenant')
    expect((await cloister('ada', 'account', 'list')).stdout).toContain(etl.accountId)
    const forbidden = await cloister('etl', 'account', 'list')
    expect([forbidden.code, forbidden.stderr]).toEqual([
      3,
      expect.stringContaining('NOT_ADMINISTRATOR'),
    ])

    const { keyId } = await json<{ keyId: string }>('etl', 'key', 'create', '--alias', 'patients')
    const nightly = await json<{ credentialId: string; expiresAt: string; file: string }>(
      ...(['etl', 'credential', 'create', 'nightly', '--scope', 'keys:use,keys:read'] as const),
      ...['--key-id', keyId, '--expires', '90d'],
    )
    expect(Date.parse(nightly.expiresAt)).toBeGreaterThan(Date.now() + 89 * 86_400_000)
    await newHome('nightly', await readFile(nightly.file, 'utf8'))
    const refused = await cloister('nightly', 'key', 'create')
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('[SCOPE]')])
    const shown = await json<{ credential: { keyIds: string[] } }>('nightly', 'account', 'show')
    expect(shown.credential.keyIds).toEqual([keyId])

    // Not by enrolling where a credential is, which would be lost with its account's keys.
    const token = join(folder, 'data', ENROLMENT_FILE)
    const unused = await readFile(token)
    const enrol = ['kms', 'enrol', '--pin', 'etl/kms.json', '--token-file', token] as const
    const over = await cloister('etl', ...enrol)
    expect([over.code, over.stderr]).toEqual([2, expect.stringContaining('would be written over')])
    expect(await readFile(token)).toEqual(unused)

    const { keyId: openId } = await json<{ keyId: string }>(
      ...(['etl', 'key', 'create', '--open', '--alias', 'results'] as const),
    )
    const user = await json<{ file: string }>(
      ...(['etl', 'credential', 'create', 'user', '--scope', 'keys:use'] as const),
      ...['--key-id', openId],
    )
    await newHome('user', await readFile(user.file, 'utf8'))
    // By its alias, which a credential for uses alone may not look up.
    const sealed = await json<{ out: string }>(
      ...(['user', 'key', 'encrypt', 'results', user.file, '--out', 'sealed'] as const),
    )
    await json('user', 'key', 'data-key', 'results', 'data.key')
    const opened = await cloister('user', 'key', 'decrypt', sealed.out)
    expect([opened.code, opened.stdout]).toEqual([0, await readFile(user.file, 'utf8')])
    const other = await cloister('user', 'key', 'encrypt', 'patients', user.file)
    expect([other.code, other.stderr]).toEqual([3, expect.stringContaining('[KEY]')])
    const unknown = await cloister('etl', 'key', 'encrypt', 'nobodys', user.file)
    expect([unknown.code, unknown.stderr]).toEqual([
      2,
      expect.stringContaining('the aliases are: patients, results'),
    ])

    const before = await readFile(join(folder, 'nightly', 'credential'), 'utf8')
    const rotated = await json<{ file: string }>(
      'nightly',
      'credential',
      'rotate',
      '--overlap',
      '0s',
    )
    const after = await readFile(rotated.file, 'utf8')
    expect(after).not.toBe(before)
    expect((await stat(rotated.file)).mode & 0o777).toBe(0o600)
    expect((await cloister('nightly', 'account', 'show')).code).toBe(0)
    await newHome('stale', before)
    expect((await cloister('stale', 'account', 'show')).stderr).toContain('CREDENTIAL_EXPIRED')
    const listed = await cloister('etl', 'credential', 'list')
    expect(listed.stdout).toContain('ended')
    await json('etl', 'credential', 'revoke', after.split('.')[0] ?? '')
    expect((await cloister('nightly', 'account', 'show')).stderr).toContain('CREDENTIAL_REVOKED')
    const printed = await cloister('etl', 'credential', 'create', 'x', '--all-scopes', '--print')
    expect(printed.stdout.trim()).toMatch(/^[0-9a-f]{32}\.[A-Za-z0-9_-]{43}$/)

    const helper = await json<{ accountId: string; file: string }>(
      ...(['ada', 'account', 'create', 'helper', '--all-scopes'] as const),
    )
    await json('etl', 'account', 'grant', helper.accountId, '--key', 'patients', '--allow', 'wrap')
    expect((await cloister('etl', 'account', 'grants', '--key', keyId)).stdout).toContain('wrap')
    await json('etl', 'account', 'ungrant', helper.accountId, '--key', keyId)
    await json('ada', 'account', 'disable', helper.accountId)
    await newHome('helper', await readFile(helper.file, 'utf8'))
    expect((await cloister('helper', 'account', 'show')).stderr).toContain('ACCOUNT_DISABLED')
    await json('ada', 'account', 'enable', helper.accountId)
    await json('operator', 'tenant', 'disable', tenant.tenantId, ...OPERATOR)
    expect((await cloister('ada', 'account', 'show')).stderr).toContain('TENANT_DISABLED')
    await json('operator', 'tenant', 'enable', tenant.tenantId, ...OPERATOR)

    // What was asked to be printed was; nothing else of a secret ever is.
    const secrets = [
      before,
      after,
      await readFile(ada, 'utf8'),
      await readFile(helper.file, 'utf8'),
    ]
    for (const secret of secrets) expect(said.join('\n')).not.toContain(secret.split('.')[1])
  })

  it('are not the operator’s only concern: eHSM’s accounts, and tokens', {
    timeout: 120_000,
  }, async () => {
    const signed = ['key', 'sign', 'patients', 'etl/kms.json', 'sig', '--algorithm'] as const
    const wrong = await cloister('etl', ...signed, 'RSA')
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('ECDSA_SHA_256')])
    const sealed = ['key', 'sign', 'results', 'etl/kms.json', 'sig']
    const encrypts = await cloister('etl', ...sealed)
    expect([encrypts.code, encrypts.stderr]).toEqual([2, expect.stringContaining('does not sign')])
    const list = await cloister('operator', 'kms', 'ehsm-account', 'list', ...OPERATOR)
    expect([list.code, list.stdout]).toEqual([0, expect.stringContaining('appid')])
    // Of a home that has enrolled nobody the folder of the token says which key service it is.
    expect(await cloister('nobody', 'kms', 'ehsm-account', 'list', ...OPERATOR)).toEqual(list)
    const id = '0b7c5a52-3c52-4d59-9a50-0f6e2c6f0d11'
    for (const other of ['x', `../tenants/${id}`, `${id}/enable?`]) {
      const odd = await cloister('operator', 'kms', 'ehsm-account', 'disable', other, ...OPERATOR)
      expect([odd.code, odd.stderr]).toEqual([3, expect.stringContaining('MALFORMED')])
    }
    const none = await cloister('operator', 'kms', 'ehsm-account', 'disable', id, ...OPERATOR)
    expect([none.code, none.stderr]).not.toEqual([0, ''])
    expect(none.stderr).toContain(`no eHSM account ${id}`)
    const before = await readFile(join(folder, 'data', 'operator-token'), 'utf8')
    const audit = ['kms', 'rotate-token', 'audit', '--out', 'audit-token', ...OPERATOR]
    expect(await json('operator', ...audit)).toEqual({ rotated: 'audit', file: 'audit-token' })
    const shown = await readFile(join(folder, 'data', 'audit-token'), 'utf8')
    expect(await readFile(join(folder, 'audit-token'), 'utf8')).toBe(shown)
    // Whatever has no place to go is not replaced: it would be told to nobody.
    for (const out of ['audit-token', 'nowhere/audit-token']) {
      const args = ['kms', 'rotate-token', 'audit', '--out', out, ...OPERATOR]
      expect((await cloister('operator', ...args)).code).toBe(out === 'audit-token' ? 2 : 5)
    }
    expect(await readFile(join(folder, 'data', 'audit-token'), 'utf8')).toBe(shown)
    const stranger = ['kms', 'rotate-token', 'audit', '--out', 'none', '--operator-token-file']
    expect((await cloister('operator', ...stranger, 'audit-token')).code).toBe(3)
    await expect(stat(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' })
    await json('operator', 'kms', 'rotate-token', 'operator', ...OPERATOR)
    await cloister('operator', 'tenant', 'list', ...OPERATOR)
    const after = await readFile(join(folder, 'data', 'operator-token'), 'utf8')
    await writeFile(join(folder, 'old-token'), before)
    const old = await cloister('operator', 'tenant', 'list', '--operator-token-file', 'old-token')
    expect(old.stderr).toContain('UNAUTHENTICATED')
    for (const secret of [before, after, shown]) expect(said.join('\n')).not.toContain(secret)
  })

  it('by a client certificate, with or without another credential', {
    timeout: 120_000,
  }, async () => {
    const [key, certificate] = [join(folder, 'client.key'), join(folder, 'client.pem')]
    const subject = ['-subj', '/CN=etl', '-days', '1', '-keyout', key, '-out', certificate]
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    await openssl('openssl', ['req', '-x509', ...ec, ...subject])
    await newHome('certified')
    const enrolled = await cloister(
      ...(['certified', 'kms', 'enrol', '--pin', 'certified/kms.json'] as const),
      ...['--token-file', join('data', ENROLMENT_FILE)],
    )
    expect(enrolled.code).toBe(0)
    const create = ['credential', 'create', 'etl', '--all-scopes', '--certificate', 'client.pem']
    const unshown = await cloister('certified', ...create)
    expect([unshown.code, unshown.stderr]).toEqual([3, expect.stringContaining('CERTIFICATE')])
    const home = join(folder, 'certified')
    await writeFile(join(home, 'client-certificate.pem'), await readFile(certificate), {
      mode: 0o600,
    })
    await writeFile(join(home, 'client-key.pem'), await readFile(key), { mode: 0o600 })
    expect((await cloister('certified', ...create)).stdout).toContain(
      'the certificate is the credential',
    )
    const bound = ['credential', 'create', 'laptop', '--all-scopes', '--bind', 'client.pem']
    const { file } = await json<{ file: string }>('certified', ...bound)
    await newHome('thief', await readFile(file, 'utf8'))
    const stolen = await cloister('thief', 'account', 'show')
    expect([stolen.code, stolen.stderr]).toEqual([
      3,
      expect.stringContaining('CREDENTIAL_CERTIFICATE'),
    ])
    await rm(join(home, 'credential'))
    expect((await cloister('certified', 'account', 'show')).stdout).toContain('(etl)')
  })
})
