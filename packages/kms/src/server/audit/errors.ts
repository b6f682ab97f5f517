import { CodedError } from '@cloister/sealed'

/**
 * What is wrong with a log, a proof or a checkpoint.
 *
 * `RANGE`: there is no such entry or size. `LOG_TAMPERED`: what is stored does not make up the log.
 * `PROOF`: an inclusion or consistency proof does not hold. `CHECKPOINT`: a checkpoint is malformed,
 * of another log, or not signed by the log's key. `ROLLED_BACK`: the log is no continuation of the
 * one that the witness has seen. `WITNESS`: the witness is not there. `EXPORT`: a file is no
 * exported log.
 */
export type AuditCode =
  | 'RANGE'
  | 'LOG_TAMPERED'
  | 'PROOF'
  | 'CHECKPOINT'
  | 'ROLLED_BACK'
  | 'WITNESS'
  | 'EXPORT'

/** Thrown when the audit log, or a statement about it, does not hold. */
export class AuditError extends CodedError<AuditCode> {}
