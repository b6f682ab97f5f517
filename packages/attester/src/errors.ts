import { CodedError } from '@cloister/attestation'

/**
 * Why a platform gave no evidence: `UNAVAILABLE` it has no such interface, or none that is switched
 * on; `BUSY` it did not answer within the tries allowed; `CONFLICT` somebody else wrote to the same
 * entry; `DEVICE` it failed, or answered what cannot be read; `REPORT_DATA` 64 bytes were wanted,
 * or the evidence bears others than were asked for.
 */
export type QuoteSourceErrorCode = 'UNAVAILABLE' | 'BUSY' | 'CONFLICT' | 'DEVICE' | 'REPORT_DATA'

/** A platform that gave no evidence. */
export class QuoteSourceError extends CodedError<QuoteSourceErrorCode> {}

/**
 * Why a certificate is no attested one: `FORMAT` not DER, or no certificate of the kind;
 * `SELF_SIGNATURE` not signed by its own key; `NO_EVIDENCE` none of the known extensions;
 * `EVIDENCE` the extension cannot be read; `BINDING` the evidence is not about this key;
 * `VALIDITY` not valid at the instant; `KEY` the key of the handshake is another.
 */
export type AttestedCertificateErrorCode =
  | 'FORMAT'
  | 'SELF_SIGNATURE'
  | 'NO_EVIDENCE'
  | 'EVIDENCE'
  | 'BINDING'
  | 'VALIDITY'
  | 'KEY'

/** A certificate that is no attested one. */
export class AttestedCertificateError extends CodedError<AttestedCertificateErrorCode> {}
