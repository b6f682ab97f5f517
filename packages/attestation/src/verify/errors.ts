import { CodedError } from '../errors.ts'

/** Evidence that is well formed and does not verify. */
export class EvidenceError extends CodedError<
  | 'QE_VENDOR'
  | 'AMBIGUOUS_ROOT'
  | 'CERTIFICATION_DATA'
  | 'PCK'
  | 'KEY'
  | 'TDX_MODULE'
  | 'QE_REPORT_SIGNATURE'
  | 'QE_REPORT_DATA'
  | 'QE_IDENTITY'
  | 'QUOTE_SIGNATURE'
  | 'TD_REPORT'
  | 'TCB_NOT_SUPPORTED'
  | 'PRODUCT'
  | 'SIGNING_KEY'
  | 'REPORTED_TCB'
  | 'COMMITTED_TCB'
  | 'CHIP_ID'
  | 'REPORT_SIGNATURE'
> {}
