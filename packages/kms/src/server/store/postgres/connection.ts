import { Client, types } from 'pg'
import type { QueryOutcome } from '../dialect.ts'
import { StoreError } from '../errors.ts'
import { asSqlValue } from '../sql-value.ts'
import { isSocketFolder, type PostgresOptions } from './address.ts'
import { storeErrorFrom } from './errors.ts'

/** Longest that a statement waits for rows or tables that others have. */
const LOCK_TIMEOUT_MS = 4000
/** After which the server takes a silent replica in the midst of a transaction for lost. */
const IDLE_IN_TRANSACTION_MS = 10_000
/** After which a server that does not answer is taken for lost. */
const QUERY_TIMEOUT_MS = 15_000
const CONNECT_TIMEOUT_MS = 3000

/** Statements that the server keeps parsed. Those with lists of every length are not worth it. */
const MAX_PREPARED = 500

/** Whole numbers of 64 bits, which the driver leaves as text. */
const INT8 = types.builtins.INT8

function parsedInt8(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value)) return value
  throw new StoreError('SQL', 'a stored number is too large')
}

/** What a connection is for: among others, or alone, where a statement may take its time. */
export type Presence = 'shared' | 'alone'

/** One connection, and what is learnt of it. */
export class PostgresConnection {
  readonly #client: Client
  readonly #prepared = new Map<string, string>()
  #isLost = false

  private constructor(client: Client) {
    this.#client = client
    client.on('error', () => {
      this.#isLost = true
    })
    client.on('end', () => {
      this.#isLost = true
    })
  }

  /** Connects. @throws StoreError CONNECTION */
  static async open(options: PostgresOptions, presence: Presence): Promise<PostgresConnection> {
    const connection = new PostgresConnection(new Client(configOf(options, presence)))
    try {
      await connection.#client.connect()
      return connection
    } catch (error) {
      await connection.close()
      throw storeErrorFrom(error)
    }
  }

  /** Whether it must not be used any more. */
  get isLost(): boolean {
    return this.#isLost
  }

  /**
   * Runs a statement. Statements are sent without waiting for those before, and answered in order.
   * @throws StoreError CONNECTION, BUSY, CONFLICT, SQL
   */
  async run(sql: string, parameters: readonly unknown[]): Promise<QueryOutcome> {
    if (this.#isLost) throw new StoreError('CONNECTION', 'the connection to the database is lost')
    // Booleans stand in what Kysely asks of the catalogue.
    const values = parameters.map(value => (typeof value === 'boolean' ? value : asSqlValue(value)))
    const name = this.#preparedName(sql)
    try {
      const { rowCount, rows } = await this.#client.query<Record<string, unknown>>({
        text: sql,
        values,
        ...(name === undefined ? {} : { name }),
      })
      return { rows, changes: rowCount ?? 0 }
    } catch (error) {
      const mapped = storeErrorFrom(error)
      if (mapped.code === 'CONNECTION') this.#isLost = true
      throw mapped
    }
  }

  /**
   * Runs a statement without parameters that is not worth preparing, and gives what the server says
   * it did.
   * @throws StoreError CONNECTION, BUSY, CONFLICT, SQL
   */
  async command(sql: string): Promise<string> {
    if (this.#isLost) throw new StoreError('CONNECTION', 'the connection to the database is lost')
    try {
      return (await this.#client.query(sql)).command
    } catch (error) {
      const mapped = storeErrorFrom(error)
      if (mapped.code === 'CONNECTION') this.#isLost = true
      throw mapped
    }
  }

  /** Ends it, whatever state it is in. */
  async close(): Promise<void> {
    const isLost = this.#isLost
    this.#isLost = true
    // A connection that is lost cannot say goodbye.
    const ended = this.#client.end().catch(() => undefined)
    if (!isLost) await ended
  }

  #preparedName(sql: string): string | undefined {
    const known = this.#prepared.get(sql)
    if (known !== undefined || this.#prepared.size >= MAX_PREPARED) return known
    const name = `s${this.#prepared.size}`
    this.#prepared.set(sql, name)
    return name
  }
}

function configOf(options: PostgresOptions, presence: Presence) {
  const { database, host, password, port, user } = options
  const patience =
    presence === 'alone'
      ? {}
      : {
          idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
          query_timeout: QUERY_TIMEOUT_MS,
        }
  return {
    host,
    port,
    user,
    database,
    ...patience,
    lock_timeout: LOCK_TIMEOUT_MS,
    // Neither from the environment nor from a file in somebody's home folder.
    password: () => {
      if (password !== undefined) return password.with(bytes => Buffer.from(bytes).toString())
      throw new StoreError('CONNECTION', 'the database server wants a password, and none was given')
    },
    ssl: tlsOf(options),
    application_name: 'cloister-kms',
    client_encoding: 'UTF8',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: CONNECT_TIMEOUT_MS,
    enableChannelBinding: true,
    pipeline: true,
    // Compiling statements that read one row costs more than it saves.
    options: '-c jit=off',
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === INT8 && format !== 'binary' ? parsedInt8 : types.getTypeParser(oid, 'text'),
    } as typeof types,
  }
}

function tlsOf({ ca, certificate, host, tls }: PostgresOptions) {
  if (tls === 'disable' || isSocketFolder(host)) return false
  return {
    minVersion: 'TLSv1.2' as const,
    rejectUnauthorized: tls !== 'require',
    ...(tls === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined
      ? {}
      : {
          cert: certificate.cert,
          key: certificate.key.with(bytes => Buffer.from(bytes).toString()),
        }),
  }
}
