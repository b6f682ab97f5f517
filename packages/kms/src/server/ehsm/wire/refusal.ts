import { CodedError } from '@cloister/sealed'

/** The codes of the envelope beside 200. */
export type RefusalCode = 400 | 404 | 500

/** Refused, in the words that clients of eHSM know. Where there is no message, none is sent. */
export class EhsmRefusal extends CodedError<`EHSM_${RefusalCode}`> {
  /** Goes into the envelope. */
  readonly envelopeCode: RefusalCode
  /** Goes into the envelope; an unknown account is told nothing. */
  readonly sent: string | undefined
  /** Why this is a denial that the audit log has; undefined for mistakes of everyday. */
  readonly denial: string | undefined

  constructor(
    code: RefusalCode,
    sent: string | undefined,
    options: ErrorOptions & { readonly denial?: string } = {},
  ) {
    super(`EHSM_${code}`, sent ?? 'unknown account', options)
    this.envelopeCode = code
    this.sent = sent
    this.denial = options.denial
  }
}

/** A request that is wrong, or names what is not there. */
export const refused = (message: string, denial?: string): EhsmRefusal =>
  new EhsmRefusal(400, message, denial === undefined ? {} : { denial })

/** What is asked of a key that its kind, use or material does not allow, or that fails. */
export const failed = (message = 'Server exception.', cause?: unknown): EhsmRefusal =>
  new EhsmRefusal(500, message, { cause })
