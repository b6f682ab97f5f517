import { execFileSync } from 'node:child_process'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isWeak, openStore, readPostgresUrl } from '../index.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from '../postgres.test.fixture.ts'
import { temporaryFolder, testRoot } from '../temporary-store.test.fixture.ts'

const ADDRESS = { name: 'StoreError', code: 'ADDRESS' }

describe('the address of a database', () => {
  it('is read with the names that libpq gives its parameters', async () => {
    const options = await readPostgresUrl('postgres://kms@db.example:5433/cloister', {})
    expect(options).toEqual({
      host: 'db.example',
      port: 5433,
      user: 'kms',
      database: 'cloister',
      tls: 'verify-full',
    })
    const six = await readPostgresUrl('postgresql://k%20ms@[::1]/a%2Fb', {})
    expect(six).toMatchObject({ host: '::1', port: 5432, user: 'k ms', database: 'a/b' })
    for (const url of [
      'postgres://kms@%2Frun%2Fpostgresql/cloister',
      'postgres://kms@localhost/cloister?host=/run/postgresql',
    ]) {
      const socket = await readPostgresUrl(url, {})
      expect(socket).toMatchObject({ host: '/run/postgresql', tls: 'disable' })
      expect(isWeak(socket)).toBe(false)
    }
  })

  it('has no password in it: that stands in a file', async () => {
    const secret = 'hunter2hunter2'
    for (const url of [
      `postgres://kms:${secret}@db/kms`,
      `postgres://kms@db/kms?password=${secret}`,
    ]) {
      const refusal: unknown = await readPostgresUrl(url, {}).catch((error: unknown) => error)
      expect(refusal).toMatchObject(ADDRESS)
      expect(String(refusal)).toContain('give a file that holds it')
      expect(String(refusal)).not.toContain(secret)
    }
    const passwordFile = join(await temporaryFolder(), 'password')
    await writeFile(passwordFile, 'a pass word\n')
    const { password } = await readPostgresUrl('postgres://kms@db/kms', { passwordFile })
    expect(Buffer.from(password?.exposeBytes() ?? []).toString()).toBe('a pass word')
    for (const content of ['', '\n', 'two\nlines']) {
      await writeFile(passwordFile, content)
      const reading = readPostgresUrl('postgres://kms@db/kms', { passwordFile })
      await expect(reading).rejects.toMatchObject(ADDRESS)
    }
  })

  it.each([
    ['no address', 'db/kms'],
    ['of another database', 'mysql://kms@db/kms'],
    ['without a user', 'postgres://db/kms'],
    ['without a database', 'postgres://kms@db'],
    ['without a host', 'postgres://kms@/kms'],
    ['with a parameter that is none', 'postgres://kms@db/kms?ssl=true'],
    ['with one twice', 'postgres://kms@db/kms?sslmode=verify-full&sslmode=disable'],
    ['with a mode that falls back', 'postgres://kms@db/kms?sslmode=prefer'],
    ['with a weak mode', 'postgres://kms@db/kms?sslmode=require'],
    ['with no TLS', 'postgres://kms@db/kms?sslmode=disable'],
    ['with half a certificate', 'postgres://kms@db/kms?sslcert=x'],
    ['with a file that is not there', 'postgres://kms@db/kms?sslrootcert=/nonexistent'],
    ['with a percent sign that stands alone', 'postgres://k%zzms@db/kms'],
    ['with a fragment', 'postgres://kms@db/kms#x'],
  ])('is refused %s', async (_what, url) => {
    await expect(readPostgresUrl(url, {})).rejects.toMatchObject(ADDRESS)
  })

  it('may be weaker where that is said loudly', async () => {
    for (const mode of ['verify-ca', 'require', 'disable'] as const) {
      const url = `postgres://kms@db/kms?sslmode=${mode}`
      const options = await readPostgresUrl(url, { allowWeakTls: true })
      expect(options.tls).toBe(mode)
      expect(isWeak(options)).toBe(true)
    }
  })
})

/** Makes an authority and a certificate of it with OpenSSL. */
async function certificates(folder: string, name: string, subject: string): Promise<void> {
  const at = (file: string) => join(folder, file)
  const openssl = (...argv: readonly string[]) => {
    execFileSync('openssl', argv, { stdio: 'ignore' })
  }
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-days',
    '2',
    '-subj',
    `/CN=${name} authority`,
    '-keyout',
    at(`${name}-ca.key`),
    '-out',
    at(`${name}-ca.pem`),
  )
  openssl(
    'req',
    ...newKey,
    '-subj',
    `/CN=${name}`,
    '-keyout',
    at(`${name}.key`),
    '-out',
    at(`${name}.csr`),
  )
  await writeFile(at(`${name}.ext`), `subjectAltName=${subject}\n`)
  openssl(
    'x509',
    '-req',
    '-days',
    '2',
    '-in',
    at(`${name}.csr`),
    '-CA',
    at(`${name}-ca.pem`),
    '-CAkey',
    at(`${name}-ca.key`),
    '-CAcreateserial',
    '-extfile',
    at(`${name}.ext`),
    '-out',
    at(`${name}.pem`),
  )
}

describe.skipIf(POSTGRES_BIN === undefined)(`a server that speaks TLS${POSTGRES_MISSING}`, () => {
  const PASSWORD = 'correct horse battery'
  let server: PostgresServer
  let files: string

  beforeAll(async () => {
    server = await PostgresServer.start()
    files = await server.makeFolder('certificates')
    await certificates(files, 'server', 'IP:127.0.0.1')
    await certificates(files, 'elsewhere', 'DNS:elsewhere.example')
    await certificates(files, 'client', 'DNS:client')
    server.psql('postgres', `alter role cloister password '${PASSWORD}'`)
    await writeFile(join(files, 'password'), `${PASSWORD}\n`)
    await serve('server')
  })

  afterAll(() => server.remove())

  /** Has the server show a certificate, and take only TLS with a password. */
  async function serve(certificate: string, rule = 'hostssl all all 127.0.0.1/32 scram-sha-256') {
    await server.stop()
    await server.writeData('server.crt', join(files, `${certificate}.pem`))
    await server.writeData('server.key', join(files, `${certificate}.key`))
    await server.writeData('client-ca.crt', join(files, 'client-ca.pem'))
    await writeFile(join(files, 'hba'), `local all all trust\n${rule}\n`)
    await server.writeData('pg_hba.conf', join(files, 'hba'))
    await writeFile(join(files, 'ssl'), "ssl = on\nssl_ca_file = 'client-ca.crt'\n")
    await server.writeData('postgresql.auto.conf', join(files, 'ssl'))
    await server.start()
  }

  async function opened(parameters: string, more: Parameters<typeof readPostgresUrl>[1] = {}) {
    const { database, port } = server.createDatabase()
    const url = `postgres://cloister@127.0.0.1:${port}/${database}?${parameters}`
    const passwordFile = join(files, 'password')
    const postgres = await readPostgresUrl(url, { passwordFile, ...more })
    const store = await openStore({ postgres, root: testRoot() })
    await store.close()
  }
  const ca = (name: string) => `sslrootcert=${join(files, `${name}-ca.pem`)}`

  it('is taken when its certificate is of the authority, and for its address', async () => {
    await opened(ca('server'))
  })

  it('is refused when its certificate is of another authority, or of one unknown', async () => {
    await expect(opened(ca('elsewhere'))).rejects.toMatchObject({ code: 'OPEN' })
    await expect(opened('')).rejects.toMatchObject({ code: 'OPEN' })
  })

  it('is given no password that it does not have', async () => {
    const wrong = join(files, 'wrong')
    await writeFile(wrong, 'wrong')
    const opening = opened(ca('server'), { passwordFile: wrong })
    await expect(opening).rejects.toThrow(/password authentication failed/)
    // Neither the environment nor a file in the home folder is asked.
    process.env['PGPASSWORD'] = PASSWORD
    try {
      const { database, port } = server.createDatabase()
      const url = `postgres://cloister@127.0.0.1:${port}/${database}?${ca('server')}`
      const postgres = await readPostgresUrl(url, {})
      const without = openStore({ postgres, root: testRoot() })
      await expect(without).rejects.toThrow(/none was given/)
    } finally {
      delete process.env['PGPASSWORD']
    }
  })

  it('is refused when its certificate is for another name, unless that is let pass loudly', async () => {
    await serve('elsewhere')
    try {
      await expect(opened(ca('elsewhere'))).rejects.toThrow(/altnames|does not match/)
      await opened(`${ca('elsewhere')}&sslmode=verify-ca`, { allowWeakTls: true })
      const other = opened(`${ca('server')}&sslmode=verify-ca`, { allowWeakTls: true })
      await expect(other).rejects.toMatchObject({ code: 'OPEN' })
      await opened('sslmode=require', { allowWeakTls: true })
    } finally {
      await serve('server')
    }
  })

  it('is not spoken to without TLS when it has none', async () => {
    await server.stop()
    await writeFile(join(files, 'ssl'), 'ssl = off\n')
    await server.writeData('postgresql.auto.conf', join(files, 'ssl'))
    await server.start()
    try {
      await expect(opened(ca('server'))).rejects.toThrow(/does not support SSL/)
    } finally {
      await serve('server')
    }
  })

  it('is shown a certificate where it wants one', async () => {
    await serve('server', 'hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca')
    await expect(opened(ca('server'))).rejects.toMatchObject({ code: 'OPEN' })
    const [cert, key] = [join(files, 'client.pem'), join(files, 'client.key')]
    await chmod(key, 0o600)
    await opened(`${ca('server')}&sslcert=${cert}&sslkey=${key}`)
  })
})
