import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, onTestFinished } from 'vitest'
import type { RootKey } from '../root/index.ts'
import { type DatabaseOptions, openStore, type Store } from './index.ts'
import { POSTGRES_BIN, POSTGRES_MISSING, PostgresServer } from './postgres.test.fixture.ts'
import {
  editDatabase,
  readDatabase,
  temporaryFolder,
  testRoot,
} from './temporary-store.test.fixture.ts'

/** A database that a test may do with as it likes. */
export interface TestDatabase {
  readonly options: DatabaseOptions
  /** Edits it as a hostile host would, past all constraints; gives how many rows were changed. */
  edit(...statements: readonly string[]): number
  /** Reads it as a hostile host would. */
  read(sql: string): readonly Record<string, unknown>[]
}

/** A kind of database. */
export interface Backend {
  readonly name: 'SQLite' | 'PostgreSQL'
  readonly missing: string
  start(): Promise<void>
  stop(): Promise<void>
  /** An empty database. */
  create(): Promise<TestDatabase>
  /** Backs a database up with the server's own program, where it has one. */
  dump?(database: string, file: string): void
  /** Puts such a backup in the place of a database. */
  undump?(database: string, file: string): void
}

class Sqlite implements Backend {
  readonly name = 'SQLite'
  readonly missing = ''

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  async create(): Promise<TestDatabase> {
    return sqliteDatabase(join(await temporaryFolder(), 'kms.db'))
  }
}

/** A file of SQLite that a test may do with as it likes. */
export function sqliteDatabase(path: string): TestDatabase {
  return {
    options: { path },
    edit: (...statements) => editDatabase(path, 'pragma foreign_keys = off', ...statements),
    read: sql => readDatabase(path, sql),
  }
}

class Postgres implements Backend {
  readonly name = 'PostgreSQL'
  readonly missing = POSTGRES_MISSING
  #server: PostgresServer | undefined

  async start(): Promise<void> {
    if (POSTGRES_BIN !== undefined) this.#server = await PostgresServer.start()
  }

  async stop(): Promise<void> {
    await this.#server?.remove()
  }

  async create(): Promise<TestDatabase> {
    const server = this.#server
    if (server === undefined) throw new Error('the server was not started')
    return postgresDatabase(server, server.createDatabase().database)
  }

  dump(database: string, file: string): void {
    writeFileSync(file, this.#server?.program('pg_dump', database, '--format=plain') ?? '')
  }

  undump(database: string, file: string): void {
    const server = this.#server
    server?.psql('postgres', `drop database ${database}`, `create database ${database}`)
    // The server's user may not read the test's folder.
    server?.script(database, readFileSync(file, 'utf8'))
  }
}

/** A database of a server that a test may do with as it likes. */
export function postgresDatabase(server: PostgresServer, name: string): TestDatabase {
  return {
    // Over its socket, where nobody stands between.
    options: { postgres: { ...server.database(name), host: server.folder } },
    edit: (...statements) => {
      const said = server.psql(name, 'set session_replication_role = replica', ...statements)
      const counts = [...said.matchAll(/^(?:UPDATE|DELETE|INSERT 0) (\d+)$/gm)]
      return counts.reduce((sum, [, count]) => sum + Number(count), 0)
    },
    read: sql =>
      JSON.parse(server.psql(name, `select coalesce(json_agg(t), '[]') from (${sql}) t`)),
  }
}

const POSTGRES = new Postgres()

/** Every kind of database that the store runs on. */
const BACKENDS: readonly Backend[] = [new Sqlite(), POSTGRES]

/**
 * Tests of whole key services, which by themselves are run on SQLite, on PostgreSQL.
 * @param use - Called with what makes their databases
 * @param load - Imports the file of the tests
 * @param onlySlow - For tests of what is decided before a database is asked: under SLOW=1 alone.
 */
export function onPostgresToo(
  use: (backend: Backend) => void,
  load: () => Promise<unknown>,
  { onlySlow = false }: { readonly onlySlow?: boolean } = {},
): void {
  const isLeftOut = onlySlow && process.env['SLOW'] !== '1'
  const why = isLeftOut ? ' (skipped: long, with SLOW=1)' : POSTGRES.missing
  describe.skipIf(why !== '')(`on PostgreSQL${why}`, async () => {
    beforeAll(async () => {
      await POSTGRES.start()
      use(POSTGRES)
    })
    afterAll(() => POSTGRES.stop())
    await load()
  })
}

/** Tests that are run on every kind of database. */
export function onEveryDatabase(title: string, tests: (backend: Backend) => void): void {
  for (const backend of BACKENDS) {
    describe.skipIf(backend.missing !== '')(
      `${title}, on ${backend.name}${backend.missing}`,
      () => {
        beforeAll(() => backend.start())
        afterAll(() => backend.stop())
        tests(backend)
      },
    )
  }
}

/** A new store over an empty database, and the means to bend it. */
export interface OpenedStore extends TestDatabase {
  readonly store: Store
  readonly root: RootKey
  /** Opens it again; a second time over, it is another replica. */
  open(): Promise<Store>
}

/** Opens a new store, which the test's end closes. */
export async function newStore(backend: Backend): Promise<OpenedStore> {
  const root = testRoot()
  const database = await backend.create()
  const open = async () => {
    const store = await openStore({ ...database.options, root })
    onTestFinished(() => store.close())
    return store
  }
  return { ...database, root, open, store: await open() }
}
