import type { KmsError } from '../../protocol/errors.ts'

/** What every refusal looks like on the wire. */
export function envelopeOf({ code, message, reasons }: KmsError): object {
  return { code, message, reasons }
}
