import { DatabaseError } from 'pg'
import { type StoreCode, StoreError } from '../errors.ts'

/** What PostgreSQL's SQLSTATEs mean to the store; any other is SQL. @see PostgreSQL, appendix A */
const BY_STATE: Readonly<Record<string, StoreCode>> = {
  '40001': 'CONFLICT', // serialization_failure
  '40P01': 'CONFLICT', // deadlock_detected
  '22012': 'CONFLICT', // division_by_zero: of no state row that is as it must be; see moveOrFail
  '55P03': 'BUSY', // lock_not_available
  '57014': 'BUSY', // query_canceled, by its timeout
  '25P03': 'CONNECTION', // idle_in_transaction_session_timeout
  '57P01': 'CONNECTION', // admin_shutdown
  '57P02': 'CONNECTION', // crash_shutdown
  '57P03': 'CONNECTION', // cannot_connect_now
  '53300': 'CONNECTION', // too_many_connections
  // A table was changed under a prepared statement, by a later version: the connection begins anew.
  '0A000': 'CONNECTION', // feature_not_supported: cached plan must not change result type
}

/** What the store throws for an error of the driver. No values of rows are in it. */
export function storeErrorFrom(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof DatabaseError) || error.code === undefined) {
    return new StoreError('CONNECTION', `the database server: ${message}`, { cause: error })
  }
  const code = error.code.startsWith('08') ? 'CONNECTION' : (BY_STATE[error.code] ?? 'SQL')
  return new StoreError(code, `${error.code}: ${message}`)
}
