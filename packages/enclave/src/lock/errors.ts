import { CodedError } from '@cloister/attestation'

/**
 * Why locked packages cannot be had or used:
 * `TOOL` a program that fetches or unpacks them is missing or failed; `REQUIREMENTS` a list of
 * packages asks for what cannot be locked; `DOWNLOAD` something was not to be had, or other bytes
 * came than were promised; `LOCK_MISSING`, `LOCK_FORMAT` the lock is not there, or was not written
 * by `cloister enclave lock`; `LOCK_STALE` it was made for another definition; `ARTEFACT_MISSING`
 * the store lacks something that the lock names; `ARTEFACT_CHANGED` the store holds other bytes
 * under its name; `ARCHIVE` a package is malformed or hostile; `ARTEFACT_IDENTITY` a package says
 * that it is another than the lock says; `STORE` the store cannot be read or written.
 */
export type LockErrorCode =
  | 'TOOL'
  | 'REQUIREMENTS'
  | 'DOWNLOAD'
  | 'LOCK_MISSING'
  | 'LOCK_FORMAT'
  | 'LOCK_STALE'
  | 'ARTEFACT_MISSING'
  | 'ARTEFACT_CHANGED'
  | 'ARTEFACT_IDENTITY'
  | 'ARCHIVE'
  | 'STORE'

/** Thrown when packages cannot be locked, fetched, kept or unpacked. */
export class LockError extends CodedError<LockErrorCode> {}
