import { DerError, MAX_DER_BYTES } from './der.ts'

const BEGIN = '-----BEGIN CERTIFICATE-----'
const END = '-----END CERTIFICATE-----'
const MAX_CERTIFICATES = 10
const MAX_PEM_BYTES = 2 * MAX_DER_BYTES

/**
 * Splits concatenated PEM certificates into DER, strictly: only certificates and white space, canonical
 * base64, NUL bytes at the very end allowed (Intel's chains carry one). Of white space, tools write
 * more and less than RFC 7468 asks for, and it says nothing.
 *
 * @param input - PEM text, or its ASCII bytes.
 * @returns One to ten DER certificates in the order given.
 * @throws DerError for anything else.
 */
export function splitPemCertificates(input: Uint8Array | string): Uint8Array[] {
  if (input.length > MAX_PEM_BYTES) {
    throw new DerError('LIMIT', `PEM of ${input.length} characters; the limit is ${MAX_PEM_BYTES}`)
  }
  const whole = typeof input === 'string' ? input : Buffer.from(input).toString('latin1')
  let length = whole.length
  while (length > 0 && whole.charCodeAt(length - 1) === 0) length--
  const text = whole.slice(0, length)
  const certificates: Uint8Array[] = []
  for (let at = skipSpace(text, 0); at < text.length; ) {
    if (certificates.length === MAX_CERTIFICATES) {
      throw new DerError('LIMIT', `more than ${MAX_CERTIFICATES} PEM certificates`)
    }
    if (!text.startsWith(BEGIN, at)) {
      throw new DerError('VALUE', 'PEM has text outside its certificates')
    }
    const start = at + BEGIN.length
    const end = text.indexOf(END, start)
    if (end < 0) throw new DerError('TRUNCATED', 'PEM certificate has no end')
    certificates.push(decode(text.slice(start, end)))
    at = skipSpace(text, end + END.length)
  }
  if (certificates.length === 0) throw new DerError('VALUE', 'PEM has no certificate')
  return certificates
}

/** Blank, tab, and what ends lines and pages; of ASCII alone. */
const SPACE = ' \t\n\v\f\r'

function skipSpace(text: string, from: number): number {
  let at = from
  while (at < text.length && SPACE.includes(text.charAt(at))) at++
  return at
}

function decode(body: string): Uint8Array {
  const base64 = body.replace(/[ \t\n\v\f\r]+/g, '')
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.length === 0 || bytes.toString('base64') !== base64) {
    throw new DerError('VALUE', 'PEM certificate is not canonical base64')
  }
  return new Uint8Array(bytes)
}
