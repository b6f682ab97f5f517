/** Why a request is not permitted. Stable; listed in docs/formats/release-policy.md. */
export type DenialCode =
  | 'NO_POLICY'
  | 'WITHDRAWN'
  | 'FORBIDDEN'
  | 'EVALUATION'
  | 'CONDITION'
  | 'DEBUG'
  | 'MEASUREMENT'
  | 'ISV_SVN'
  | 'TEE'
  | 'TCB_STATUS'
  | 'JOB_DIGEST'
  | 'JOB_TEMPLATE'
  | 'ACTION'
  | 'POLICY_DATASET'
  | 'NOT_BEFORE'
  | 'NOT_AFTER'
  | 'HOURS'
  | 'RELEASE_LIMIT'
  | 'PLATFORM'
  | 'TCB_DATE'
  | 'TCB_EVALUATION_DATA_NUMBER'
  | 'ADVISORIES'

/** One reason for a denial. */
export interface DenialReason {
  readonly code: DenialCode
  readonly message: string
  readonly wanted: string
  readonly seen: string
  /** The policy that does not permit, or forbids; absent where no policy names the key. */
  readonly policyId?: string
}

/** A reason that a policy gives. */
export function reasonOf(
  policyId: string,
  code: DenialCode,
  subject: string,
  wanted: string,
  seen: string,
): DenialReason {
  const message = `policy ${policyId}: ${subject}: wanted ${wanted}, seen ${seen}`
  return { code, message, wanted, seen, policyId }
}
