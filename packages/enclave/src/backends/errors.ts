import { CodedError } from '@cloister/attestation'

/**
 * Why an image cannot be made ready for a backend, or what was made is refused:
 * `TOOL_MISSING` a command of the backend is not installed; `TOOL` one failed, or wrote something
 * else than it should; `FILES` the image holds what the backend cannot take, or files differ from
 * what was built; `MANIFEST` the backend's configuration is not what is allowed; `MEASUREMENT` the
 * tool measured another enclave than the files give; `EXISTS` something is there already; `WRITE` the
 * result cannot be written; `OPTION` an option is impossible.
 */
export type BackendErrorCode =
  | 'TOOL_MISSING'
  | 'TOOL'
  | 'FILES'
  | 'MANIFEST'
  | 'MEASUREMENT'
  | 'EXISTS'
  | 'WRITE'
  | 'OPTION'

/** Thrown when an image cannot be made ready for a backend, or what was made is refused. */
export class BackendError extends CodedError<BackendErrorCode> {}
