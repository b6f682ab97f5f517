import { CodedError } from '@cloister/attestation'

/**
 * Why a file that begins like an ELF file is none:
 * `TRUNCATED` something lies behind its end; `LIMIT` something is larger than any real file's;
 * `VALUE` a field has a value that the format does not allow.
 */
export type ElfErrorCode = 'TRUNCATED' | 'LIMIT' | 'VALUE'

/** Thrown when an ELF file is malformed. */
export class ElfError extends CodedError<ElfErrorCode> {}
