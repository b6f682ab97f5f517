import { CodedError } from '@cloister/attestation'

/**
 * Why a file is no enclave of the Intel SDK that can be measured:
 * `ELF` it is no ELF file for x86-64, or a header leads outside it; `NOT_ENCLAVE` it has no metadata;
 * `METADATA` its metadata are malformed; `VERSION` they are of a version that is not known here;
 * `SEGMENT` a segment is impossible; `PATCH` a patch leads outside; `LAYOUT` the layout is
 * malformed; `RANGE` a page lies outside the enclave; `OVERLAP` two pages share an address; `LIMIT`
 * it asks for more than is ever hashed here.
 */
export type SdkEnclaveErrorCode =
  | 'ELF'
  | 'NOT_ENCLAVE'
  | 'METADATA'
  | 'VERSION'
  | 'SEGMENT'
  | 'PATCH'
  | 'LAYOUT'
  | 'RANGE'
  | 'OVERLAP'
  | 'LIMIT'

/** Thrown when a file is no enclave of the Intel SDK that can be measured. */
export class SdkEnclaveError extends CodedError<SdkEnclaveErrorCode> {}
