/** An error with a stable code that a program can switch on. */
export abstract class CodedError<Code extends string> extends Error {
  /** What went wrong; stable between versions. */
  readonly code: Code

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/**
 * Why bytes are not an acceptable sealed file.
 *
 * `TAG` stands for an altered, swapped, repeated or cut payload, `HEADER_MAC` for an altered header
 * or the wrong key, `RANGE` for a range outside the plaintext, and `LIMIT` for a size or count that
 * the format does not allow.
 */
export type SealedFormatCode =
  | 'MAGIC'
  | 'VERSION'
  | 'TRUNCATED'
  | 'TRAILING_BYTES'
  | 'HEADER'
  | 'LIMIT'
  | 'TAG'
  | 'HEADER_MAC'
  | 'NO_SLOT'
  | 'RANGE'
  | 'COMPRESSED'

/** Thrown for everything that a sealed file's bytes, key or requested range can have wrong. */
export class SealedFormatError extends CodedError<SealedFormatCode> {}
