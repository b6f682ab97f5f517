import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type LibsqlDatabase from 'libsql'
import { onTestFinished } from 'vitest'
import { RootKey } from '../root/index.ts'
import { openStore, type Store } from './index.ts'

const Database: typeof LibsqlDatabase = createRequire(import.meta.url)('libsql')

/** A root key that is the same in every test. */
export const testRoot = (fill = 7): RootKey => RootKey.from(new Uint8Array(32).fill(fill))

/** Has something done when a test ends, or all of a file's. */
export type AtEnd = (work: () => void | Promise<void>) => void

/** A folder that goes away with the test. */
export async function temporaryFolder(atEnd: AtEnd = onTestFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-kms-'))
  atEnd(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A new store in a folder that goes away with the test. */
export async function temporaryStore(): Promise<{
  readonly store: Store
  readonly root: RootKey
  readonly path: string
}> {
  const root = testRoot()
  const path = join(await temporaryFolder(), 'kms.db')
  const store = await openStore({ path, root })
  onTestFinished(() => store.close())
  return { store, root, path }
}

/** Edits the database as a hostile host would: with a connection of its own. */
export function editDatabase(path: string, ...statements: readonly string[]): number {
  const database = new Database(path)
  try {
    return statements.reduce((sum, sql) => sum + database.prepare(sql).run().changes, 0)
  } finally {
    database.close()
  }
}

/** Reads the database as a hostile host would. */
export function readDatabase(path: string, sql: string): readonly Record<string, unknown>[] {
  const database = new Database(path)
  try {
    return database.prepare(sql).all() as Record<string, unknown>[]
  } finally {
    database.close()
  }
}
