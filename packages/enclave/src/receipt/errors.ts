import { CodedError } from '@cloister/attestation'

/**
 * Why a receipt is not believed: `FORMAT` it is none; `SIGNATURE` its own signature is false; `KMS`
 * its key service is none of those given; `TOKEN` its token is not that service's, or not for this
 * instance; `EVIDENCE` its evidence does not verify at the time it was made; `BINDING` the evidence
 * is not bound to this instance's keys and job; `JOB` the job is not the one attested; `MEASUREMENT`
 * another image was measured; `REQUEST` a request in it is not this instance's; `STATEMENT` the key
 * service's statement, or its proof of the audit log, does not hold; `DATASETS` what it says of
 * inputs or outputs is not what the job and the key service say.
 */
export type ReceiptErrorCode =
  | 'FORMAT'
  | 'SIGNATURE'
  | 'KMS'
  | 'TOKEN'
  | 'EVIDENCE'
  | 'BINDING'
  | 'JOB'
  | 'MEASUREMENT'
  | 'REQUEST'
  | 'STATEMENT'
  | 'DATASETS'

/** Thrown when a receipt is not believed. */
export class ReceiptError extends CodedError<ReceiptErrorCode> {}
