import { readFile } from 'node:fs/promises'
import { Secret } from '../../root/index.ts'
import { StoreError } from '../errors.ts'

/**
 * How the connection is protected, as libpq names it. `verify-full`: TLS, and the server's certificate
 * is for its name. `verify-ca`: TLS, and the certificate is of a known authority, for whatever name.
 * `require`: TLS with whoever answers. `disable`: none.
 */
export type PostgresTls = 'verify-full' | 'verify-ca' | 'require' | 'disable'

/** Where a PostgreSQL database is, and what proves each side to the other. */
export interface PostgresOptions {
  /** Name or IP address; or the folder of the server's Unix socket, which needs no TLS. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  readonly password?: Secret
  readonly tls: PostgresTls
  /** Authorities that the server's certificate may be of, PEM; those that Node knows unless told. */
  readonly ca?: string
  /** Certificate and key that prove the key service to the server, PEM. */
  readonly certificate?: { readonly cert: string; readonly key: Secret }
}

/** What an address leaves open. */
export interface PostgresUrlOptions {
  /** File that holds the password, its end of line aside. */
  readonly passwordFile?: string
  /** Lets `sslmode` be weaker than `verify-full`. */
  readonly allowWeakTls?: boolean
}

const DEFAULT_PORT = 5432
const PARAMETERS = ['host', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey']
const MODES: readonly string[] = ['verify-full', 'verify-ca', 'require', 'disable']

const bad = (what: string): StoreError =>
  new StoreError('ADDRESS', `the database's address: ${what}`)

/** Whether whoever stands between can read and change what is sent. */
export function isWeak({ host, tls }: PostgresOptions): boolean {
  return tls !== 'verify-full' && !isSocketFolder(host)
}

/** Whether a host is the folder of a Unix socket. */
export function isSocketFolder(host: string): boolean {
  return host.startsWith('/')
}

/**
 * Reads an address, `postgres://user@host:port/database?sslmode=…&sslrootcert=FILE`, with the names that
 * libpq gives its parameters, and the files it names. A Unix socket's folder is the host, percent-encoded
 * (`%2Frun%2Fpostgresql`) or in `?host=`.
 * @throws StoreError ADDRESS, above all where a password stands in the address
 */
export async function readPostgresUrl(
  text: string,
  { allowWeakTls = false, passwordFile }: PostgresUrlOptions,
): Promise<PostgresOptions> {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw bad('wanted postgres://user@host:port/database')
  }
  if (url.password !== '' || url.searchParams.has('password')) {
    const why = 'arguments are read by every process of the machine'
    throw bad(`it must not have the password in it (${why}): give a file that holds it`)
  }
  if (url.hash !== '') throw bad('it must not have a fragment')
  for (const [name] of url.searchParams) {
    if (!PARAMETERS.includes(name)) throw bad(`wanted of ${PARAMETERS.join(', ')}, seen ${name}`)
    if (url.searchParams.getAll(name).length > 1) throw bad(`${name} stands there twice`)
  }
  const named = decoded(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  const host = url.searchParams.get('host') ?? named
  const user = decoded(url.username)
  const database = decoded(url.pathname.slice(1))
  if (host === '' || user === '' || database === '')
    throw bad('wanted a user, a host and a database')
  const tls = modeOf(url.searchParams.get('sslmode'), host)
  const options = { host, port: Number(url.port) || DEFAULT_PORT, user, database, tls }
  if (isWeak(options) && !allowWeakTls) {
    const what = `sslmode ${tls} lets whoever stands between read and change all that is stored`
    throw bad(`${what}: wanted verify-full, unless weaker ones are allowed`)
  }
  return { ...options, ...(await filesOf(url.searchParams)), ...(await passwordOf(passwordFile)) }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new StoreError('ADDRESS', 'the database’s address: a percent sign stands alone', {
      cause,
    })
  }
}

function modeOf(given: string | null, host: string): PostgresTls {
  const mode = given ?? (isSocketFolder(host) ? 'disable' : 'verify-full')
  if (!MODES.includes(mode)) throw bad(`sslmode: wanted ${MODES.join(', ')}, seen ${mode}`)
  return mode as PostgresTls
}

async function filesOf(
  parameters: URLSearchParams,
): Promise<Pick<PostgresOptions, 'ca' | 'certificate'>> {
  const [ca, cert, key] = ['sslrootcert', 'sslcert', 'sslkey'].map(name => parameters.get(name))
  if ((cert === null) !== (key === null)) throw bad('sslcert and sslkey go together')
  return {
    ...(ca === null || ca === undefined ? {} : { ca: (await contentOf(ca)).toString() }),
    ...(cert && key
      ? {
          certificate: {
            cert: (await contentOf(cert)).toString(),
            key: Secret.from(await contentOf(key)),
          },
        }
      : {}),
  }
}

async function passwordOf(path: string | undefined): Promise<Pick<PostgresOptions, 'password'>> {
  if (path === undefined) return {}
  const text = (await contentOf(path)).toString().replace(/\r?\n$/, '')
  if (text === '' || /[\0\r\n]/.test(text)) throw bad(`${path} holds no password of one line`)
  return { password: Secret.from(Buffer.from(text)) }
}

async function contentOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new StoreError('ADDRESS', `${path} cannot be read`, { cause })
  }
}
