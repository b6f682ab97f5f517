import { createRequire } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import type LibsqlDatabase from 'libsql'
import type { QueryOutcome } from '../dialect.ts'
import type { SqlStatement, WorkerOptions, WorkerReply, WorkerRequest } from './worker-protocol.ts'

// The package is CommonJS whose type declarations describe an ES module's default export.
const Database: typeof LibsqlDatabase = createRequire(import.meta.url)('libsql')

const MAX_STATEMENTS = 256

type Handle = InstanceType<typeof LibsqlDatabase>
type Statement = ReturnType<Handle['prepare']>

const port = parentPort
if (port === null) throw new Error('this file runs as a worker thread only')

const reply = (message: WorkerReply): void => port.postMessage(message)

function failed(id: number, error: unknown): WorkerReply {
  const text = error instanceof Error ? error.message : String(error)
  const sqlite = error instanceof Error && 'code' in error ? `${String(error.code)}: ` : ''
  const code =
    error instanceof LockedError ? 'LOCKED' : error instanceof StateError ? 'ROW_MAC' : 'SQL'
  return { id, kind: 'failed', code, message: `${sqlite}${text}` }
}

class LockedError extends Error {}
class StateError extends Error {}

/** Holds the lock file until the thread, or the process, ends in whatever way. */
function lock(path: string): Handle {
  const handle = new Database(path)
  try {
    handle.exec('begin exclusive')
    return handle
  } catch (error) {
    throw new LockedError(`another process has ${path}`, { cause: error })
  }
}

function open(options: WorkerOptions): Handle {
  // libsql-js takes milliseconds here, and its types leave the option out.
  const settings: Record<string, unknown> = { timeout: options.busyTimeoutMs }
  const database = new Database(options.path, settings)
  const mode: unknown = database.prepare('pragma journal_mode = wal').get()
  if (typeof mode !== 'object' || mode === null || !Object.values(mode).includes('wal')) {
    throw new Error('the file system does not allow a write-ahead log')
  }
  // FULL: every commit is followed by a sync of the write-ahead log before it returns.
  database.exec('pragma synchronous = full')
  database.exec('pragma foreign_keys = on')
  // What was deleted, material of keys above all, is overwritten in the file.
  database.exec('pragma secure_delete = on')
  // A schema edited from outside cannot call functions with side effects.
  database.exec('pragma trusted_schema = off')
  return database
}

function openOr(options: WorkerOptions, giveUp: () => void): Handle {
  try {
    return open(options)
  } catch (error) {
    giveUp()
    throw error
  }
}

try {
  const options: WorkerOptions = workerData
  const lockHandle = lock(options.lockPath)
  const database = openOr(options, () => lockHandle.close())
  const statements = new Map<string, Statement>()

  const prepare = (sql: string): Statement => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    if (statements.size >= MAX_STATEMENTS) statements.clear()
    const statement = database.prepare(sql)
    statements.set(sql, statement)
    return statement
  }

  /** After an error in a transaction nothing is done until it is taken back: not half of it either. */
  let isBroken = false

  const run = ({ changes: wanted, parameters, sql }: SqlStatement): QueryOutcome => {
    const statement = prepare(sql)
    if (statement.reader) {
      const rows = statement.all([...parameters]) as Record<string, unknown>[]
      return { rows, changes: rows.length }
    }
    const { changes } = statement.run([...parameters])
    if (wanted !== undefined && changes !== wanted) {
      throw new StateError('the state row is not as this KMS last wrote it')
    }
    return { rows: [], changes }
  }

  const answer = (request: WorkerRequest): WorkerReply => {
    const { id } = request
    switch (request.kind) {
      case 'steps': {
        if (isBroken) throw new Error('a statement of the transaction failed before')
        const wasInside = database.inTransaction
        try {
          const outcomes = request.statements.map(run)
          return { id, kind: 'done', ...(outcomes.at(-1) ?? { rows: [], changes: 0 }) }
        } catch (error) {
          if (database.inTransaction) database.exec('rollback')
          // Whoever began it before still takes it for open.
          isBroken = wasInside
          throw error
        }
      }
      case 'rollback':
        isBroken = false
        // A failed statement has rolled back already.
        if (database.inTransaction) database.exec('rollback')
        return { id, kind: 'done', rows: [], changes: 0 }
      case 'close':
        statements.clear()
        database.prepare('pragma wal_checkpoint(truncate)').all()
        database.close()
        lockHandle.close()
        return { id, kind: 'done', rows: [], changes: 0 }
    }
  }

  port.on('message', (request: WorkerRequest) => {
    try {
      reply(answer(request))
    } catch (error) {
      reply(failed(request.id, error))
    }
    if (request.kind === 'close') port.close()
  })
  reply({ id: 0, kind: 'done', rows: [], changes: 0 })
} catch (error) {
  reply(failed(0, error))
  port.close()
}
