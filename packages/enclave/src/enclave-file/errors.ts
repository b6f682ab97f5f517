import { CodedError } from '@cloister/attestation'

/**
 * Why a file or folder cannot be measured, verified or signed as an enclave:
 * `KIND` it is none that is known here; `UNSIGNED` there is no SIGSTRUCT; `MEASUREMENT` its SIGSTRUCT
 * is of another enclave; `EXISTS` something is where the result should go; `WRITE` the result cannot
 * be written.
 */
export type EnclaveFileErrorCode = 'KIND' | 'UNSIGNED' | 'MEASUREMENT' | 'EXISTS' | 'WRITE'

/** Thrown when a file or folder cannot be measured, verified or signed as an enclave. */
export class EnclaveFileError extends CodedError<EnclaveFileErrorCode> {}
