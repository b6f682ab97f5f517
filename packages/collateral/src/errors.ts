import { CodedError } from '@cloister/attestation'

/**
 * Why an upstream's answer is of no use: `UNREACHABLE` it was not reached, or in time; `STATUS` it
 * refused; `TOO_LARGE` the answer exceeds what such a document measures; `FORMAT` it is no such
 * document, or not the one that was asked for; `OLDER` it was issued before the one that is kept.
 */
export type UpstreamErrorCode = 'UNREACHABLE' | 'STATUS' | 'TOO_LARGE' | 'FORMAT' | 'OLDER'

/** An upstream that gave nothing of use. */
export class UpstreamError extends CodedError<UpstreamErrorCode> {
  /** The HTTP status it answered with, for `STATUS`. */
  readonly status: number | undefined

  constructor(
    code: UpstreamErrorCode,
    message: string,
    options: ErrorOptions & { readonly status?: number } = {},
  ) {
    super(code, message, options)
    this.status = options.status
  }

  /** Whether asking again may help. */
  get isTransient(): boolean {
    const { status = 0 } = this
    return this.code === 'UNREACHABLE' || status === 429 || status >= 500
  }
}

/**
 * No collateral can be had: `UNAVAILABLE` no upstream gave any that verifies; `NOT_KEPT` none is
 * kept that is in date, and none may be fetched; `BUSY` too much is being fetched already.
 */
export type CollateralUnavailableErrorCode = 'UNAVAILABLE' | 'NOT_KEPT' | 'BUSY'

/** No collateral that verifies; every reason is told. */
export class CollateralUnavailableError extends CodedError<CollateralUnavailableErrorCode> {
  /** One reason an upstream. */
  readonly reasons: readonly string[]
  /** The same as errors. */
  readonly failures: readonly Error[]

  constructor(
    code: CollateralUnavailableErrorCode,
    what: string,
    failures: readonly { readonly from: string; readonly error: Error }[] = [],
  ) {
    const reasons = failures.map(({ from, error }) => `${from}: ${error.message}`)
    super(code, [`no collateral for ${what}`, ...reasons].join('; '))
    this.reasons = reasons
    this.failures = failures.map(({ error }) => error)
  }

  /** Whether every upstream was reached and said that there is none. */
  get isAbsence(): boolean {
    const isNone = (error: Error) =>
      error instanceof UpstreamError && (error.status === 404 || error.status === 410)
    return this.failures.length > 0 && this.failures.every(isNone)
  }
}

/**
 * Why there is no PCK certificate for a platform: `UNKNOWN` it is not registered; `NO_PPID` nothing was
 * shown to find it by; `NOT_CERTIFIED` the vendor has none for its TCB yet; `NO_MATCH` its TCB is below
 * every certificate; `ANOTHER` what is said of it does not fit what is known; `FULL` no room is left.
 */
export type PlatformErrorCode =
  | 'UNKNOWN'
  | 'NO_PPID'
  | 'NOT_CERTIFIED'
  | 'NO_MATCH'
  | 'ANOTHER'
  | 'FULL'

/** No PCK certificate for a platform. */
export class PlatformError extends CodedError<PlatformErrorCode> {}
