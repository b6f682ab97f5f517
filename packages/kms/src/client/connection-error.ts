/**
 * Why there was no answer to believe: `UNREACHABLE` nobody answered; `FALSE_KMS` somebody did who is
 * not the pinned key service, and was sent nothing; `TIMEOUT` no answer in time; `ANSWER` the
 * answer is not one the protocol knows; `STATEMENT` the signed statement is not by the pinned key
 * service or not about this request, and nothing in it was used; `LOG_HISTORY` its audit log is not
 * the continuation of the one seen before, as when an older database was put back.
 */
export type KmsConnectionErrorCode =
  | 'UNREACHABLE'
  | 'FALSE_KMS'
  | 'TIMEOUT'
  | 'ANSWER'
  | 'STATEMENT'
  | 'LOG_HISTORY'

/** Thrown by the client when it has no answer by the pinned key service. */
export class KmsConnectionError extends Error {
  /** What went wrong; stable between versions. */
  readonly code: KmsConnectionErrorCode

  constructor(code: KmsConnectionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'KmsConnectionError'
    this.code = code
  }
}
