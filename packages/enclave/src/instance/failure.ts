/** One ground of a failure. */
export interface FailureReason {
  /** Stable, for programs. */
  readonly code: string
  /** For people. */
  readonly message: string
}

/** Why an instance gave up, in a form that passes its border. Bears no secrets. */
export interface InstanceFailure {
  /** Name of the error's class, such as `DatasetError`. */
  readonly where: string
  /** Stable, for programs. */
  readonly code: string
  /** For people: what was wanted and what was there. */
  readonly message: string
  readonly reasons: readonly FailureReason[]
}

/**
 * Why measured init refuses to go on, or gives up:
 * `HOST_ENVIRONMENT` the host set a variable, an argument or an inspector; `JOB` the job file is none;
 * `PIN` the key service's pin is none, or not of one the job names; `IMAGE` the image's manifest is
 * none; `QUOTE` the platform gave none; `MEASUREMENT` the job is for another image; `INPUT` a
 * dataset is not the one keys came for;
 * `PROGRAM` the program failed or spoke out of turn; `OUTPUT` what it wrote is not what was asked;
 * `NETWORK` the image's hosts cannot be offered to its program; `SIGNAL` the host ended it before its
 * program began.
 */
export type InstanceErrorCode =
  | 'HOST_ENVIRONMENT'
  | 'JOB'
  | 'PIN'
  | 'IMAGE'
  | 'QUOTE'
  | 'MEASUREMENT'
  | 'INPUT'
  | 'PROGRAM'
  | 'OUTPUT'
  | 'NETWORK'
  | 'SIGNAL'

/** Thrown by init when it refuses to go on, or gives up. */
export class InstanceError extends Error {
  /** What went wrong; stable between versions. */
  readonly code: InstanceErrorCode

  constructor(code: InstanceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'InstanceError'
    this.code = code
  }
}

const MAX_TEXT = 4096

/** What passes the border of an error: class, code and message, and its reasons where it has any. */
export function failureFrom(error: unknown): InstanceFailure {
  if (!(error instanceof Error)) {
    return { where: 'Error', code: 'INTERNAL', message: 'something was thrown', reasons: [] }
  }
  const reasons = 'reasons' in error && Array.isArray(error.reasons) ? error.reasons : []
  return {
    where: cut(error.name),
    code: 'code' in error && typeof error.code === 'string' ? cut(error.code) : 'INTERNAL',
    message: cut(error.message),
    reasons: reasons.slice(0, 64).map(reasonFrom),
  }
}

function reasonFrom(reason: unknown): FailureReason {
  const fields: Readonly<Record<string, unknown>> = { ...(reason as object) }
  const text = (name: string) => (typeof fields[name] === 'string' ? cut(fields[name]) : '')
  return { code: text('code'), message: text('message') }
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text
}
