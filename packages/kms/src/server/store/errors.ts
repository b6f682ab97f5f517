import { CodedError } from '@cloister/sealed'

/**
 * Why the store did not do what was asked.
 *
 * `LOCKED`: another process has the database. `ROW_MAC`: a row was edited, swapped, moved, put back
 * to an earlier state, added or taken away by other means than this store. `ROLLED_BACK`: the whole
 * database is older than this process has seen it. `NESTED`: a transaction was asked for inside
 * another. `CONNECTION`: the database server cannot be reached, nothing was changed. `OUTCOME`: the
 * connection was lost, and whether anything was changed is not known. `BUSY`: other replicas did not
 * let this one have its turn in time. `CONFLICT`: the database asks for another attempt. `CLOCK`: the
 * database has not told its time for too long.
 */
export type StoreCode =
  | 'OPEN'
  | 'ADDRESS'
  | 'LOCKED'
  | 'WRONG_ROOT_KEY'
  | 'ROW_MAC'
  | 'ROLLED_BACK'
  | 'MIGRATION'
  | 'SQL'
  | 'CLOSED'
  | 'NESTED'
  | 'WORKER'
  | 'CONNECTION'
  | 'OUTCOME'
  | 'BUSY'
  | 'CONFLICT'
  | 'CLOCK'

/** Thrown when the database cannot be used or trusted. */
export class StoreError extends CodedError<StoreCode> {}
