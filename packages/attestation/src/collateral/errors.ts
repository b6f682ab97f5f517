import { CodedError } from '../errors.ts'

/** What can be wrong with collateral. */
export const COLLATERAL_ERROR_CODES = [
  'FORMAT',
  'LIMIT',
  'SIGNATURE',
  'SIGNER',
  'VERSION',
  'NOT_YET_VALID',
  'EXPIRED',
  'FMSPC',
  'PCEID',
  'OTHER_TEE',
] as const

/** Collateral that is malformed, unsigned, out of date, or of another platform. */
export class CollateralError extends CodedError<(typeof COLLATERAL_ERROR_CODES)[number]> {}
