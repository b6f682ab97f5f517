import { CodedError } from '@cloister/attestation'

/**
 * Why a package cannot be written, or is refused:
 * `EXISTS` something is there already; `WRITE` it cannot be written; `BASE` the image to build on
 * cannot be used; `SOURCE` what to put in cannot be read, or is of a kind that no layer holds;
 * `KEY` the key is no P-256 key; `LAYOUT` it is no OCI layout, or malformed; `DIGEST` a blob is
 * missing, or another than its name says; `SIGNATURE` it is not signed, or by another key.
 */
export type PackageErrorCode =
  | 'EXISTS'
  | 'WRITE'
  | 'BASE'
  | 'SOURCE'
  | 'KEY'
  | 'LAYOUT'
  | 'DIGEST'
  | 'SIGNATURE'

/** Thrown when a package cannot be written, or is refused. */
export class PackageError extends CodedError<PackageErrorCode> {}
