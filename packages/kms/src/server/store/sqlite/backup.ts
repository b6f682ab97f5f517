import { randomBytes } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type LibsqlDatabase from 'libsql'
import { syncPath } from '../../../durable-files.ts'
import { StoreError } from '../errors.ts'

// The package is CommonJS whose type declarations describe an ES module's default export.
const Database: typeof LibsqlDatabase = createRequire(import.meta.url)('libsql')

/** What a backup holds, as far as it can be told without the root key. */
export interface BackupContent {
  /** Rows of the audit log. */
  readonly logSize: number
  /** How many transactions had changed the store. */
  readonly epoch: number
}

/**
 * Copies a database to a new file, as it stands at one moment, also while a key service has it open.
 * Wrapped and MACed as it is, the copy needs the same root key.
 * @throws StoreError OPEN where `path` is no database of a key service, or `out` is there already
 */
export async function backUpSqlite(path: string, out: string): Promise<BackupContent> {
  const temporary = join(dirname(out), `.${randomBytes(6).toString('hex')}.tmp`)
  try {
    // Made first: SQLite takes an empty file, and leaves its mode as it is.
    await (await open(temporary, 'wx', 0o600)).close()
    const source = new Database(path, { readonly: true, fileMustExist: true })
    try {
      source.prepare('vacuum into ?').run(temporary)
    } finally {
      source.close()
    }
    const content = contentOf(temporary)
    await syncPath(temporary)
    // Nothing that is there is written over.
    await (await open(out, 'wx', 0o600)).close()
    await rename(temporary, out)
    await syncPath(dirname(out))
    return content
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new StoreError('OPEN', `${path} was not backed up to ${out}: ${why}`, { cause })
  } finally {
    await rm(temporary, { force: true })
  }
}

function contentOf(path: string): BackupContent {
  const copy = new Database(path, { readonly: true })
  try {
    const value = (sql: string, name: string): unknown => {
      const row: unknown = copy.prepare(sql).get()
      return Object.hasOwn(Object(row), name) ? Object(row)[name] : undefined
    }
    if (value('pragma integrity_check', 'integrity_check') !== 'ok') {
      throw new Error('the copy is damaged')
    }
    const epoch = Number(value('select epoch from store_state', 'epoch'))
    const logSize = Number(value('select size from audit_log', 'size') ?? 0)
    return { epoch, logSize }
  } finally {
    copy.close()
  }
}
