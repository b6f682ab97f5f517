/**
 * Every code the key service answers with, and its HTTP status. The only place that maps them.
 *
 * Codes are stable. `MALFORMED` covers whatever could not be parsed; `KEY_USAGE` what a key's kind
 * does not do; `KEY_STATE` what a key does not do at this point of its life; `INTEGRITY` a stored row
 * that was altered behind the service's back; `INTERNAL` says nothing on purpose.
 */
export const KMS_STATUS = {
  CIPHERTEXT_INVALID: 400,
  IMPORT_MATERIAL: 400,
  KEY_USAGE: 400,
  LIMIT: 400,
  MALFORMED: 400,
  UNAUTHENTICATED: 401,
  CHALLENGE_EXPIRED: 401,
  TOKEN_EXPIRED: 401,
  TOKEN_INVALID: 401,
  TOKEN_KEY: 401,
  APPRAISAL_REJECTED: 403,
  CHALLENGE_INVALID: 403,
  ENROLMENT_REFUSED: 403,
  EVIDENCE_INVALID: 403,
  IMPORT_TOKEN: 403,
  JOB_MISMATCH: 403,
  KEY_ATTESTED_ONLY: 403,
  KEY_DISABLED: 403,
  MEASUREMENT_MISMATCH: 403,
  NOT_ALLOWED: 403,
  NOT_OWNER: 403,
  RELEASE_DENIED: 403,
  REPORT_DATA_MISMATCH: 403,
  SLOT_INVALID: 403,
  WITHDRAWN: 403,
  WRONG_KMS: 403,
  NOT_FOUND: 404,
  TIMEOUT: 408,
  ALIAS_TAKEN: 409,
  CHALLENGE_USED: 409,
  HEAD_CONFLICT: 409,
  KEY_STATE: 409,
  REQUEST_REPLAYED: 409,
  TOO_LARGE: 413,
  RATE_LIMITED: 429,
  INTEGRITY: 500,
  INTERNAL: 500,
  COLLATERAL_UNAVAILABLE: 503,
  UNAVAILABLE: 503,
} as const satisfies Readonly<Record<string, number>>

/** What went wrong at the key service, for programs. */
export type KmsErrorCode = keyof typeof KMS_STATUS

/** One ground of a refusal. */
export interface KmsReason {
  /** Stable, for programs. */
  readonly code: string
  /** For people. */
  readonly message: string
  /** What would have been accepted, where that can be said. */
  readonly wanted?: string
  /** What was there, where that can be said. */
  readonly seen?: string
  /** The release policy that says so, where one does. */
  readonly policyId?: string
}

/** A refusal by the key service: the same on both sides of the wire. Bears no secrets. */
export class KmsError extends Error {
  /** What went wrong; stable between versions. */
  readonly code: KmsErrorCode
  /** Every ground of the refusal, where there are several. */
  readonly reasons: readonly KmsReason[]

  constructor(
    code: KmsErrorCode,
    message: string,
    options: ErrorOptions & { readonly reasons?: readonly KmsReason[] } = {},
  ) {
    super(message, options)
    this.name = 'KmsError'
    this.code = code
    this.reasons = options.reasons ?? []
  }

  /** The HTTP status that goes with the code. */
  get status(): number {
    return KMS_STATUS[this.code]
  }
}

/** Tells a code of this table from any other text. */
export function isKmsErrorCode(text: string): text is KmsErrorCode {
  return Object.hasOwn(KMS_STATUS, text)
}
