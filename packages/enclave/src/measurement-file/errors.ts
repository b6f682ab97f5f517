import { CodedError } from '@cloister/attestation'

/**
 * Why a measurement file is refused:
 * `FORMAT` it is malformed; `SIGNER` another signer's than was wanted; `SIGNATURE` its signature does
 * not hold; `SIGSTRUCT` the SIGSTRUCT inside does not verify, or says something else; `SVN` it is of a
 * release below the floor; `DEBUG` its enclave's memory can be read by the host, or could be;
 * `TEST_KEY` its signer's private key is published.
 */
export type MeasurementFileErrorCode =
  | 'FORMAT'
  | 'SIGNER'
  | 'SIGNATURE'
  | 'SIGSTRUCT'
  | 'SVN'
  | 'DEBUG'
  | 'TEST_KEY'

/** Thrown when a measurement file is refused. */
export class MeasurementFileError extends CodedError<MeasurementFileErrorCode> {}
