import { CodedError } from '@cloister/attestation'

/**
 * Why an upstream's answer is of no use: `UNREACHABLE` it was not reached, or in time; `STATUS` it
 * refused; `TOO_LARGE` the answer exceeds what such a document measures; `FORMAT` it is no such
 * document.
 */
export type UpstreamErrorCode = 'UNREACHABLE' | 'STATUS' | 'TOO_LARGE' | 'FORMAT'

/** An upstream that gave nothing of use. */
export class UpstreamError extends CodedError<UpstreamErrorCode> {
  /** Whether asking again may help. */
  readonly isTransient: boolean

  constructor(code: UpstreamErrorCode, message: string, isTransient: boolean, cause?: unknown) {
    super(code, message, { cause })
    this.isTransient = isTransient
  }
}

/** No upstream gave collateral that verifies; every reason is told. */
export class CollateralUnavailableError extends CodedError<'UNAVAILABLE'> {
  /** One reason an upstream, and one for what was kept. */
  readonly reasons: readonly string[]

  constructor(what: string, reasons: readonly string[]) {
    super('UNAVAILABLE', `no collateral for ${what}: ${reasons.join('; ')}`)
    this.reasons = reasons
  }
}
