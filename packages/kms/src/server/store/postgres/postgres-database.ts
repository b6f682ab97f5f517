import {
  type DataTypeNode,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import {
  type CommitOptions,
  type Database,
  type StoredState,
  storedStateFrom,
} from '../database.ts'
import type { DialectParts, QueryOutcome } from '../dialect.ts'
import { StoreError } from '../errors.ts'
import type { Statement } from '../statements.ts'
import type { PostgresOptions } from './address.ts'
import { DatabaseClock } from './clock.ts'
import { PostgresConnection, type Presence } from './connection.ts'

/** The number of the lock that key services have on their database: "cloister" in ASCII. */
const PRESENCE_LOCK = BigInt(`0x${Buffer.from('cloister').toString('hex')}`)

/** The oldest version that is tested. */
const MIN_VERSION = 150_000

/** How long a replica waits for another that makes the tables, or brings them to a newer version. */
const START_PATIENCE_MS = 12_000

/** How long a server that could not be reached is left alone; requests meanwhile fail at once. */
const RECONNECT_AFTER_MS = 250

const MILLISECONDS = '(extract(epoch from clock_timestamp()) * 1000)::bigint'
const READ_STATE = `select root_check, epoch, mac, ${MILLISECONDS} as now from store_state where id = 1`
const LOCK_STATE = 'select root_check, epoch, mac from store_state where id = 1 for update'
/** Whatever a role or a database is set to. */
const BEGIN = {
  // One snapshot, in which the state row vouches for all others.
  read: 'begin isolation level repeatable read read only',
  // After the wait for the state row each statement sees what was committed meanwhile.
  write: 'begin isolation level read committed read write',
} as const

/**
 * Moves the state row on, or fails: what comes after it in the transaction fails then too. So one that
 * asked nothing goes as a whole, without waiting for the answer to its beginning.
 */
const moveOrFail = (sql: string) =>
  `with moved as (${sql} returning 1) select 1 / count(*) as moved from moved`

/** Numbers of 64 bits, and text that is compared byte by byte whatever the database's language is. */
class Compiler extends PostgresQueryCompiler {
  protected override visitDataType(node: DataTypeNode): void {
    if (node.dataType === 'integer') this.append('bigint')
    else if (node.dataType === 'text') this.append('text collate "C"')
    else super.visitDataType(node)
  }
}

/**
 * A database of a PostgreSQL server, over one connection, which several key services have open at
 * once. A lost connection is replaced at the next transaction.
 */
export class PostgresDatabase implements Database {
  readonly isShared = true
  readonly dialect: DialectParts = {
    adapter: () => new PostgresAdapter(),
    compiler: () => new Compiler(),
    introspector: db => new PostgresIntrospector(db),
  }
  readonly #options: PostgresOptions
  readonly #clock = new DatabaseClock()
  #presence: Presence
  #connection: PostgresConnection | undefined
  #unreachable: { readonly until: number; readonly error: unknown } | undefined
  #isClosed = false

  private constructor(options: PostgresOptions, presence: Presence) {
    this.#options = options
    this.#presence = presence
  }

  /**
   * Connects.
   * @param presence - `alone` while no key service may run
   * @throws StoreError CONNECTION, LOCKED, OPEN where the server cannot be relied on
   */
  static async open(options: PostgresOptions, presence: Presence): Promise<PostgresDatabase> {
    const database = new PostgresDatabase(options, presence)
    await database.#connected(presence === 'shared' ? START_PATIENCE_MS : undefined)
    return database
  }

  readonly run = async (sql: string, parameters: readonly unknown[]): Promise<QueryOutcome> => {
    // Never a new connection here: what ran before on the old one would be missing.
    if (this.#connection === undefined) throw lost()
    return await this.#connection.run(sql, parameters)
  }

  async begin(mode: 'read' | 'write'): Promise<StoredState | undefined> {
    const connection = await this.#connected()
    const start = this.#clock.start()
    try {
      const [, { rows }] = await Promise.all([
        connection.command(BEGIN[mode]),
        connection.run(mode === 'write' ? LOCK_STATE : READ_STATE, []),
      ])
      if (mode === 'read') this.#clock.observe(Number(rows[0]?.['now']), start)
      return storedStateFrom(rows[0])
    } catch (error) {
      await this.rollback()
      throw error
    }
  }

  async send(statements: readonly Statement[]): Promise<void> {
    await Promise.all(statements.map(({ parameters, sql }) => this.run(sql, parameters)))
  }

  async commit({ isBegun, state, statements }: CommitOptions): Promise<void> {
    const connection = isBegun ? this.#connection : await this.#connected()
    if (connection === undefined) throw lost()
    const move = state === undefined ? [] : [{ ...state, sql: moveOrFail(state.sql) }]
    // First where it stands for the lock; else last, behind whatever takes a part back.
    const all = isBegun ? [...statements, ...move] : [...move, ...statements]
    // All are sent before any is answered.
    const [[begun], ran, [committed]] = await Promise.all([
      Promise.allSettled(isBegun ? [] : [connection.command(BEGIN.write)]),
      Promise.allSettled(all.map(({ parameters, sql }) => connection.run(sql, parameters))),
      Promise.allSettled([connection.command('commit')]),
    ])
    if (committed.status === 'rejected') {
      const error: unknown = committed.reason
      const isLost = error instanceof StoreError && error.code === 'CONNECTION'
      if (!isLost) throw error
      throw new StoreError('OUTCOME', 'the connection was lost at a commit', { cause: error })
    }
    const failed = [begun, ...ran].find(end => end?.status === 'rejected')
    if (failed?.status === 'rejected') throw failed.reason
    if (committed.value !== 'COMMIT') {
      throw new StoreError('SQL', 'a statement before had failed: nothing was committed')
    }
  }

  async rollback(): Promise<void> {
    await this.#connection?.command('rollback').catch(() => this.#drop())
  }

  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#presence === 'alone') return await work()
    try {
      await this.#reopened('alone')
      return await work()
    } finally {
      await this.#reopened('shared', START_PATIENCE_MS)
    }
  }

  now(): Date {
    return this.#clock.now()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#drop()
  }

  async #reopened(presence: Presence, patienceMs?: number): Promise<void> {
    await this.#drop()
    this.#presence = presence
    await this.#connected(patienceMs)
  }

  async #drop(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }

  /**
   * The connection, a new one where it was lost.
   * @param patienceMs - How long others may have it to themselves; as long as any lock unless told
   * @throws StoreError CONNECTION, LOCKED, OPEN
   */
  async #connected(patienceMs?: number): Promise<PostgresConnection> {
    if (this.#isClosed) throw new StoreError('CLOSED', 'the database is closed')
    if (this.#connection?.isLost === false) return this.#connection
    await this.#drop()
    if (this.#unreachable !== undefined && performance.now() < this.#unreachable.until) {
      throw this.#unreachable.error
    }
    try {
      const connection = await PostgresConnection.open(this.#options, this.#presence)
      this.#connection = connection
      await requireReliable(connection)
      await takePresence(connection, this.#presence, patienceMs)
      this.#unreachable = undefined
      return connection
    } catch (error) {
      const isLocked = error instanceof StoreError && error.code === 'LOCKED'
      const until = performance.now() + RECONNECT_AFTER_MS
      this.#unreachable = isLocked ? undefined : { until, error }
      await this.#drop()
      throw error
    }
  }
}

const lost = () => new StoreError('CONNECTION', 'the connection to the database is lost')

/** What is acknowledged must be on the server's disk. */
async function requireReliable(connection: PostgresConnection): Promise<void> {
  const settings = ['server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit']
  const columns = settings.map(name => `current_setting('${name}') as ${name}`)
  const { rows } = await connection.run(
    `select ${columns.join(', ')}, pg_is_in_recovery()::text as is_standby`,
    [],
  )
  const seen = { ...rows[0] }
  const refuse = (what: string): never => {
    throw new StoreError('OPEN', `the database server ${what}`)
  }
  if (Number(seen['server_version_num']) < MIN_VERSION) refuse('is older than PostgreSQL 15')
  if (seen['is_standby'] !== 'false') refuse('is a standby, which takes no writes')
  for (const name of ['fsync', 'full_page_writes']) {
    if (seen[name] !== 'on')
      refuse(`runs with ${name} ${seen[name]}: a crash would lose what it acknowledged`)
  }
  // Stronger settings, which wait for standbys, stay as they are.
  if (seen['synchronous_commit'] === 'off') await connection.command('set synchronous_commit = on')
}

/**
 * Takes the lock that tells other processes, for as long as the connection lasts, that this one is
 * there. Waits a little: of two that start on an empty database one makes the tables.
 */
async function takePresence(
  connection: PostgresConnection,
  presence: Presence,
  patienceMs: number | undefined,
): Promise<void> {
  const lock = presence === 'alone' ? 'pg_advisory_lock' : 'pg_advisory_lock_shared'
  try {
    if (patienceMs !== undefined) await connection.command(`set lock_timeout = ${patienceMs}`)
    await connection.command(`select ${lock}(${PRESENCE_LOCK})`)
    if (patienceMs !== undefined) await connection.command('reset lock_timeout')
  } catch (cause) {
    if (!(cause instanceof StoreError && cause.code === 'BUSY')) throw cause
    const why =
      presence === 'alone'
        ? 'key services run over this database: stop them all first'
        : 'the database is being changed as a whole: try again when that is done'
    throw new StoreError('LOCKED', why, { cause })
  }
}
