import { CodedError } from '../errors.ts'

/** What can be wrong with well-formed evidence. */
export const EVIDENCE_ERROR_CODES = [
  'QE_VENDOR',
  'AMBIGUOUS_ROOT',
  'CERTIFICATION_DATA',
  'PCK',
  'KEY',
  'TDX_MODULE',
  'QE_REPORT_SIGNATURE',
  'QE_REPORT_DATA',
  'QE_IDENTITY',
  'QUOTE_SIGNATURE',
  'TCB_NOT_SUPPORTED',
  'PRODUCT',
  'SIGNING_KEY',
  'REPORTED_TCB',
  'COMMITTED_TCB',
  'CHIP_ID',
  'REPORT_SIGNATURE',
] as const

/** Evidence that is well formed and does not verify. */
export class EvidenceError extends CodedError<(typeof EVIDENCE_ERROR_CODES)[number]> {}
