/**
 * Base of every error this package throws on purpose: an `Error` with a machine-readable code.
 * The message is for people and may change; the code is part of the interface.
 */
export abstract class CodedError<Code extends string> extends Error {
  /** What went wrong, for programs. */
  readonly code: Code

  /**
   * @param code - What went wrong, for programs.
   * @param message - What went wrong, for people.
   * @param options - Standard error options, such as `cause`.
   */
  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/**
 * Why a quote could not be read:
 * `TRUNCATED` ends before a field does; `VERSION`, `KEY_TYPE`, `TEE_TYPE`, `BODY_TYPE`, `CERT_TYPE`
 * names something this parser does not read; `LENGTH` a size disagrees with what holds it or what it holds; `LIMIT` a
 * size exceeds what this parser is willing to read; `RESERVED` reserved bits are not as they must be.
 */
export const QUOTE_FORMAT_ERROR_CODES = [
  'TRUNCATED',
  'VERSION',
  'KEY_TYPE',
  'TEE_TYPE',
  'BODY_TYPE',
  'CERT_TYPE',
  'LENGTH',
  'LIMIT',
  'RESERVED',
] as const

/** Why a quote or a report could not be read. */
export type QuoteFormatErrorCode = (typeof QUOTE_FORMAT_ERROR_CODES)[number]

/** Thrown when bytes are not a well-formed quote, or a value cannot be encoded as one. */
export class QuoteFormatError extends CodedError<QuoteFormatErrorCode> {}
