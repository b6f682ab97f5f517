import { CodedError } from '@cloister/sealed'

/**
 * Why the store did not do what was asked.
 *
 * `LOCKED`: another process has the database. `ROW_MAC`: a row was edited, swapped, moved, put back
 * to an earlier state, added or taken away by other means than this store. `NESTED`: a transaction
 * was asked for inside another.
 */
export type StoreCode =
  | 'OPEN'
  | 'LOCKED'
  | 'WRONG_ROOT_KEY'
  | 'ROW_MAC'
  | 'MIGRATION'
  | 'SQL'
  | 'CLOSED'
  | 'NESTED'
  | 'WORKER'

/** Thrown when the database cannot be used or trusted. */
export class StoreError extends CodedError<StoreCode> {}
