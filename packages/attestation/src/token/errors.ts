import { CodedError } from '../errors.ts'

/**
 * Why a token was refused or not issued: `FORMAT` it is no such token or lacks a claim; `KEY` the
 * KMS's key is not of P-256; `TIME` the instant is none; `LIFETIME` it lives too long, or would
 * not live; the others name what does not fit.
 */
export type TokenErrorCode =
  | 'FORMAT'
  | 'ALGORITHM'
  | 'TYPE'
  | 'SIGNATURE'
  | 'ISSUER'
  | 'AUDIENCE'
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'LIFETIME'
  | 'KEY'
  | 'TIME'
  | 'EVIDENCE'

/** A token that does not verify, or cannot be issued. */
export class TokenError extends CodedError<TokenErrorCode> {}
