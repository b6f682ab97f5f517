import { CodedError } from '@cloister/attestation'

/**
 * Why an enclave definition is refused:
 * `FILE` it cannot be read; `YAML` it is no YAML, or uses what definitions do not need (anchors,
 * tags, several documents); `UNKNOWN_FIELD` a field that does not exist; `MISSING_FIELD` one that is
 * needed; `VALUE` one whose value is wrong.
 */
export type DefinitionErrorCode = 'FILE' | 'YAML' | 'UNKNOWN_FIELD' | 'MISSING_FIELD' | 'VALUE'

/** Thrown when an enclave definition is refused. */
export class DefinitionError extends CodedError<DefinitionErrorCode> {
  /** Line of the fault, from 1, where there is one. */
  readonly line: number | undefined
  /** Column of the fault, from 1, where there is one. */
  readonly column: number | undefined

  /**
   * @param code - What went wrong, for programs.
   * @param message - What went wrong, for people; begins with file, line and column.
   * @param at - Where.
   * @param options - Standard error options.
   */
  constructor(
    code: DefinitionErrorCode,
    message: string,
    at?: { readonly line: number; readonly column: number },
    options?: ErrorOptions,
  ) {
    super(code, message, options)
    this.line = at?.line
    this.column = at?.column
  }
}

/** What a job asks for and its image does not allow. */
export type RuleErrorCode = 'ARGUMENT' | 'ENVIRONMENT'

/** Thrown when a job asks for arguments or an environment that the image's rules do not allow. */
export class RuleError extends CodedError<RuleErrorCode> {}
