import { CodedError } from '@cloister/attestation'
import { BundleError } from '../bundle/import-bundle.ts'
import {
  CollateralUnavailableError,
  PlatformError,
  type PlatformErrorCode,
  UpstreamError,
} from '../errors.ts'

/**
 * Every code the service answers with, and its HTTP status. The only place that maps them.
 * @see Intel PCCS, status codes; 410, 413 and 429 as of Intel PCS
 */
export const PCCS_STATUS = {
  INVALID_REQUEST: 400,
  UNAUTHORIZED: 401,
  NO_DATA: 404,
  NOT_FOUND: 404,
  TIMEOUT: 408,
  GONE: 410,
  TOO_LARGE: 413,
  TOO_MANY_REQUESTS: 429,
  INTEGRITY: 460,
  PLATFORM_UNKNOWN: 461,
  CERTS_UNAVAILABLE: 462,
  INTERNAL: 500,
  PCS_FAILURE: 502,
  UNAVAILABLE: 503,
} as const satisfies Readonly<Record<string, number>>

/** What went wrong, for programs. */
export type PccsErrorCode = keyof typeof PCCS_STATUS

/** A refusal by the service. Bears no secrets, and nothing that the request said. */
export class PccsError extends CodedError<PccsErrorCode> {
  /** Every ground of it, where there are several. */
  readonly reasons: readonly string[]

  constructor(
    code: PccsErrorCode,
    message: string,
    options: ErrorOptions & { readonly reasons?: readonly string[] } = {},
  ) {
    super(code, message, options)
    this.reasons = options.reasons ?? []
  }

  /** The HTTP status that goes with the code. */
  get status(): number {
    return PCCS_STATUS[this.code]
  }
}

/** The refusal that an error of the packages is; anything that nobody threw on purpose is `INTERNAL`. */
export function refusalOf(error: unknown): PccsError {
  if (error instanceof PccsError) return error
  if (error instanceof CollateralUnavailableError) return unavailable(error)
  if (error instanceof PlatformError) {
    return new PccsError(BY_PLATFORM[error.code], error.message, { cause: error })
  }
  if (error instanceof BundleError) {
    return new PccsError('INTEGRITY', error.message, { cause: error, reasons: error.reasons })
  }
  if (error instanceof CodedError) {
    // What a request brought along: it cannot be read.
    return new PccsError('INVALID_REQUEST', error.message, { cause: error })
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return DISK_ERRORS.has(code)
    ? new PccsError('UNAVAILABLE', 'the service cannot write to its disk', { cause: error })
    : new PccsError('INTERNAL', 'an internal error', { cause: error })
}

const BY_PLATFORM: Readonly<Record<PlatformErrorCode, PccsErrorCode>> = {
  UNKNOWN: 'PLATFORM_UNKNOWN',
  NO_PPID: 'INVALID_REQUEST',
  NOT_CERTIFIED: 'CERTS_UNAVAILABLE',
  NO_MATCH: 'NO_DATA',
  ANOTHER: 'INTEGRITY',
  FULL: 'UNAVAILABLE',
}

const DISK_ERRORS: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EACCES'])

/** An upstream that says there is none counts more than one that fails; one that lies, most. */
function unavailable(error: CollateralUnavailableError): PccsError {
  const told = (code: PccsErrorCode, message: string) =>
    new PccsError(code, message, { cause: error, reasons: error.reasons })
  if (error.code === 'BUSY') return told('UNAVAILABLE', 'too much is being fetched already')
  if (error.code === 'NOT_KEPT') return told('NO_DATA', 'none is kept that is in date')
  const { failures } = error
  const has = (...statuses: readonly number[]) =>
    failures.some(one => one instanceof UpstreamError && statuses.includes(one.status ?? 0))
  const lied = failures.some(one => !(one instanceof UpstreamError) || LIES.has(one.code))
  if (lied) return told('INTEGRITY', 'what the upstreams sent does not verify')
  if (has(410)) return told('GONE', 'the vendor serves it no more')
  if (has(404)) return told('NO_DATA', 'no upstream has it')
  if (has(429)) return told('TOO_MANY_REQUESTS', 'the upstreams take no more requests for now')
  return failures.length === 0
    ? told('NO_DATA', 'none is kept, and no upstream is configured')
    : told('PCS_FAILURE', 'no upstream gave it')
}

const LIES: ReadonlySet<string> = new Set(['FORMAT', 'TOO_LARGE', 'OLDER'])
