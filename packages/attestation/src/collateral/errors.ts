import { CodedError } from '../errors.ts'

/** Collateral that is malformed, unsigned, out of date, or of another platform. */
export class CollateralError extends CodedError<
  | 'FORMAT'
  | 'LIMIT'
  | 'SIGNATURE'
  | 'SIGNER'
  | 'VERSION'
  | 'NOT_YET_VALID'
  | 'EXPIRED'
  | 'FMSPC'
  | 'PCEID'
  | 'OTHER_TEE'
> {}
