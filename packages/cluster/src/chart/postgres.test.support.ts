import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from '../free-port.test.support.ts'

const DEBIAN = '/usr/lib/postgresql'
const BIN = (existsSync(DEBIAN) ? readdirSync(DEBIAN) : [])
  .map(version => join(DEBIAN, version, 'bin'))
  .find(folder => existsSync(join(folder, 'initdb')))

/** What a test's title says where PostgreSQL is not installed. */
export const POSTGRES_MISSING =
  BIN === undefined ? ' (skipped: PostgreSQL is not installed here)' : ''

/** A server as a cloud gives it: TLS under a CA of its own, users with passwords. */
export interface PostgresOverTls {
  readonly port: number
  /** File of the CA's certificate. */
  readonly ca: string
  readonly password: string
  stop(): Promise<void>
}

/** Nobody: PostgreSQL does not run as root. */
const NOBODY = 65_534

/** Starts a server with a database `kms` of a user `kms`, on `localhost`. */
export async function postgresOverTls(): Promise<PostgresOverTls> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-pod-postgres-'))
  const data = join(folder, 'data')
  const password = 'of a test, of nobody else'
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, password)
  certificate(folder)
  await chmod(folder, 0o755)
  const isRoot = process.getuid?.() === 0
  if (isRoot) {
    await chown(folder, NOBODY, NOBODY)
    for (const file of readdirSync(folder)) await chown(join(folder, file), NOBODY, NOBODY)
  }
  const who = isRoot ? ['--reuid', '65534', '--regid', '65534', '--clear-groups'] : []
  const as = (program: string, ...argv: readonly string[]) => [
    ...[...who, '--pdeathsig', 'INT', join(BIN ?? '', program), ...argv],
  ]
  const access = ['--auth=scram-sha-256', '-U', 'kms', `--pwfile=${passwordFile}`]
  execFileSync('setpriv', as('initdb', '-D', data, ...access, '--no-sync', '-E', 'UTF8'))
  const port = await freePort()
  const settings = [
    ...['listen_addresses=127.0.0.1', `port=${port}`, `unix_socket_directories=${folder}`],
    ...['ssl=on', `ssl_cert_file=${folder}/server.crt`, `ssl_key_file=${folder}/server.key`],
  ].flatMap(setting => ['-c', setting])
  const server = spawn('setpriv', as('postgres', '-D', data, ...settings), {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  await new Promise<void>((resolve, reject) => {
    server.once('exit', () => reject(new Error('PostgreSQL did not start')))
    createInterface({ input: server.stderr }).on('line', line => {
      if (line.includes('ready to accept connections')) resolve()
    })
  })
  execFileSync('setpriv', as('createdb', '-h', folder, '-p', String(port), '-U', 'kms', 'kms'), {
    env: { PGPASSWORD: password },
  })
  // Where anybody may read it.
  const shown = await mkdtemp(join(tmpdir(), 'cloister-pod-ca-'))
  await mkdir(shown, { recursive: true })
  await copyFile(join(folder, 'server.crt'), join(shown, 'ca.crt'))
  return {
    ...{ port, password, ca: join(shown, 'ca.crt') },
    async stop() {
      const gone = once(server, 'exit')
      server.kill('SIGQUIT')
      await gone
      await rm(folder, { recursive: true, force: true })
      await rm(shown, { recursive: true, force: true })
    },
  }
}

function certificate(folder: string): void {
  const files = ['-keyout', join(folder, 'server.key'), '-out', join(folder, 'server.crt')]
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const argv = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  execFileSync('openssl', [...argv, '-days', '2', ...names, ...files], { stdio: 'ignore' })
}
