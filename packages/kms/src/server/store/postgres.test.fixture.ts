import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { PostgresOptions } from './index.ts'

const DEBIAN = '/usr/lib/postgresql'
const USER = 'cloister'
/** Nobody: PostgreSQL does not run as root. */
const UNPRIVILEGED = 65_534

/** Folder of PostgreSQL's programs, the newest version's; undefined where it is not installed. */
export const POSTGRES_BIN = (existsSync(DEBIAN) ? readdirSync(DEBIAN) : [])
  .sort((a, b) => Number(b) - Number(a))
  .map(version => join(DEBIAN, version, 'bin'))
  .find(folder => existsSync(join(folder, 'initdb')))

/** What a test's title says where PostgreSQL is not installed. */
export const POSTGRES_MISSING =
  POSTGRES_BIN === undefined ? ' (skipped: PostgreSQL is not installed here)' : ''

const isRoot = process.getuid?.() === 0

/** Runs a program as somebody whom PostgreSQL serves, who ends when this process does. */
function asServer(program: string, argv: readonly string[]): [string, string[]] {
  const id = String(UNPRIVILEGED)
  const who = isRoot ? ['--reuid', id, '--regid', id, '--clear-groups'] : []
  return ['setpriv', [...who, '--pdeathsig', 'INT', join(POSTGRES_BIN ?? '', program), ...argv]]
}

function run(program: string, argv: readonly string[], input = ''): string {
  const options = { encoding: 'utf8', input, maxBuffer: 1 << 28 } as const
  const { status, stderr, stdout } = spawnSync(...asServer(program, argv), options)
  if (status !== 0) throw new Error(`${program}: ${stderr}`)
  return stdout
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** A PostgreSQL server of the tests' own, on a port and in a folder of its own. */
export class PostgresServer {
  readonly #folder: string
  readonly #port: number
  readonly #settings: readonly string[]
  #child: ChildProcess | undefined
  #databases = 0

  private constructor(folder: string, port: number, settings: readonly string[]) {
    this.#folder = folder
    this.#port = port
    this.#settings = settings
  }

  /**
   * Makes a server and starts it.
   * @param settings - `name=value`, beside the defaults
   * @param parent - Folder that its data is in; that of temporary files unless told
   */
  static async start(
    settings: readonly string[] = [],
    parent: string = tmpdir(),
  ): Promise<PostgresServer> {
    const folder = await mkdtemp(join(parent, 'cloister-postgres-'))
    await chmod(folder, 0o755)
    if (isRoot) await chown(folder, UNPRIVILEGED, UNPRIVILEGED)
    const server = new PostgresServer(folder, await freePort(), settings)
    const access = ['--auth-host=trust', '--auth-local=trust', '-U', USER]
    run('initdb', ['-D', server.data, ...access, '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8'])
    await server.start()
    return server
  }

  /** The server's data folder. */
  get data(): string {
    return join(this.#folder, 'data')
  }

  /** The folder around it, where the server may read. */
  get folder(): string {
    return this.#folder
  }

  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    const settings = [
      'listen_addresses=127.0.0.1',
      `port=${this.#port}`,
      `unix_socket_directories=${this.#folder}`,
      ...this.#settings,
    ].flatMap(setting => ['-c', setting])
    const child = spawn(...asServer('postgres', ['-D', this.data, ...settings]), {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    const said: string[] = []
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error(`PostgreSQL did not start: ${said.join('\n')}`)))
      createInterface({ input: child.stderr }).on('line', line => {
        said.push(line)
        if (line.includes('ready to accept connections')) resolve()
      })
    })
  }

  /** Ends it: `SIGINT` with goodbyes, `SIGQUIT` without, `SIGKILL` as a crash would. */
  async stop(signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL' = 'SIGINT'): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  /** Ends it and takes its data away. */
  async remove(): Promise<void> {
    await this.stop('SIGQUIT')
    await rm(this.#folder, { recursive: true, force: true })
  }

  /** Makes an empty database. */
  createDatabase(): PostgresOptions {
    const database = `kms_${this.#databases++}`
    this.psql('postgres', `create database ${database}`)
    return this.database(database)
  }

  /** How a database is reached. */
  database(database: string): PostgresOptions {
    return { host: '127.0.0.1', port: this.#port, user: USER, database, tls: 'disable' }
  }

  /** Runs statements as a hostile host would, with a connection of its own; gives what psql says. */
  psql(database: string, ...statements: readonly string[]): string {
    const commands = statements.flatMap(sql => ['-c', sql])
    const where = ['-h', this.#folder, '-p', String(this.#port), '-U', USER, '-d', database]
    return run('psql', ['-XAt', '-v', 'ON_ERROR_STOP=1', ...where, ...commands])
  }

  /** Runs a script, as pg_dump writes them. */
  script(database: string, text: string): void {
    const where = ['-h', this.#folder, '-p', String(this.#port), '-U', USER, '-d', database]
    run('psql', ['-Xq', '-v', 'ON_ERROR_STOP=1', ...where], text)
  }

  /** Runs one of PostgreSQL's programs against a database. */
  program(name: string, database: string, ...argv: readonly string[]): string {
    const where = ['-h', this.#folder, '-p', String(this.#port), '-U', USER, '-d', database]
    return run(name, [...where, ...argv])
  }

  /** Copies a file into the data folder, as one of the server's own. */
  async writeData(name: string, from: string): Promise<void> {
    const path = join(this.data, name)
    await copyFile(from, path)
    await chmod(path, 0o600)
    if (isRoot) await chown(path, UNPRIVILEGED, UNPRIVILEGED)
  }

  /** Makes a folder that the server may write to. */
  async makeFolder(name: string): Promise<string> {
    const path = join(this.#folder, name)
    await mkdir(path)
    if (isRoot) await chown(path, UNPRIVILEGED, UNPRIVILEGED)
    return path
  }
}
