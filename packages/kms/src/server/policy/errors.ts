import { CodedError } from '@cloister/sealed'

/**
 * Why a policy or withdrawal is not stored, or not found. `BUSY`: many texts are being checked.
 */
export type PolicyCode =
  | 'POLICY_INVALID'
  | 'POLICY_NOT_FOUND'
  | 'BUSY'
  | 'TOO_MANY_POLICIES'
  | 'WITHDRAWAL_NOT_FOUND'

/** Thrown when a policy cannot be stored, or is not there. */
export class PolicyError extends CodedError<PolicyCode> {}
