import { CodedError } from '@cloister/attestation'

/**
 * Why bytes are not a canonical SGXS stream:
 * `TRUNCATED` a record is cut short, or there is none; `TAG` an unknown record; `UNSIZED` the stream
 * begins with a header that cannot be measured; `ORDER` a record stands where it may not; `SIZE` the
 * enclave's size or frame size is impossible; `RESERVED` reserved bytes are not zero; `PAGE` a page's
 * offset, type or permissions are wrong; `CHUNK` a chunk's offset is wrong or repeated.
 */
export type SgxsErrorCode =
  | 'TRUNCATED'
  | 'TAG'
  | 'UNSIZED'
  | 'ORDER'
  | 'SIZE'
  | 'RESERVED'
  | 'PAGE'
  | 'CHUNK'

/** Thrown when bytes are not a canonical SGXS stream, or a page cannot be written to one. */
export class SgxsError extends CodedError<SgxsErrorCode> {}
