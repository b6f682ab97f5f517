import { CodedError, type RejectedAppraisal } from '@cloister/attestation'

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

/**
 * Why the other side was not believed, or there is none: `UNREACHABLE` no connection; `TLS` no
 * handshake as demanded (version 1.3, the protocol's name, a certificate, no resumption); `TIMEOUT`
 * not done in time; `PROTOCOL` an answer the protocol does not know; `COLLATERAL` the caller's
 * function gave none; `EVIDENCE` the evidence does not verify; `BINDING` it is not about this
 * connection, or a pinned server has another key; `REJECTED` the policy refuses it, and
 * {@link AttestedTlsError.appraisal} says why; `OWN_EVIDENCE` the other side demands evidence, and
 * there is none to give; `REFUSED` it was given, and the other side ended the connection; `EXPIRED`
 * what the other side was appraised with has ended since.
 */
export type AttestedTlsErrorCode =
  | 'UNREACHABLE'
  | 'TLS'
  | 'TIMEOUT'
  | 'PROTOCOL'
  | 'COLLATERAL'
  | 'EVIDENCE'
  | 'BINDING'
  | 'REJECTED'
  | 'OWN_EVIDENCE'
  | 'REFUSED'
  | 'EXPIRED'

/** A connection that was not made, or had to end, because one side is not believed. */
export class AttestedTlsError extends CodedError<AttestedTlsErrorCode> {
  /** Every reason of the policy; there with `REJECTED` alone. */
  readonly appraisal?: RejectedAppraisal

  constructor(
    code: AttestedTlsErrorCode,
    message: string,
    options: ErrorOptions & { readonly appraisal?: RejectedAppraisal } = {},
  ) {
    super(code, message, options)
    if (options.appraisal !== undefined) this.appraisal = options.appraisal
  }
}
