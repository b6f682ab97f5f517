import { DerError, MAX_DER_BYTES } from './der.ts'

const BEGIN = '-----BEGIN CERTIFICATE-----'
const END = '-----END CERTIFICATE-----'
const MAX_CERTIFICATES = 10
const MAX_PEM_BYTES = 2 * MAX_DER_BYTES

/**
 * Splits concatenated PEM certificates into DER, strictly: only certificates, only line breaks
 * between them, canonical base64, NUL bytes at the very end allowed (Intel's chains carry one).
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
  const text = whole.slice(0, length).replaceAll('\r\n', '\n')
  const certificates: Uint8Array[] = []
  let at = skipBreaks(text, 0)
  while (at < text.length) {
    if (certificates.length === MAX_CERTIFICATES) {
      throw new DerError('LIMIT', `more than ${MAX_CERTIFICATES} PEM certificates`)
    }
    if (!text.startsWith(`${BEGIN}\n`, at)) {
      throw new DerError('VALUE', 'PEM has text outside its certificates')
    }
    const start = at + BEGIN.length + 1
    const end = text.indexOf(`\n${END}`, start)
    if (end < 0) throw new DerError('TRUNCATED', 'PEM certificate has no end')
    certificates.push(decode(text.slice(start, end)))
    const after = end + 1 + END.length
    at = skipBreaks(text, after)
    if (at === after && at < text.length) {
      throw new DerError('VALUE', 'PEM certificate is not followed by a line break')
    }
  }
  if (certificates.length === 0) throw new DerError('VALUE', 'PEM has no certificate')
  return certificates
}

function skipBreaks(text: string, from: number): number {
  let at = from
  while (text[at] === '\n') at++
  return at
}

function decode(body: string): Uint8Array {
  const base64 = body.replaceAll('\n', '')
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.length === 0 || bytes.toString('base64') !== base64) {
    throw new DerError('VALUE', 'PEM certificate is not canonical base64')
  }
  return new Uint8Array(bytes)
}

/** Writes certificates (DER) as concatenated PEM with a line break at the end. */
export function encodePemCertificates(...certificates: readonly Uint8Array[]): string {
  return certificates
    .map(certificate => {
      const lines = Buffer.from(certificate)
        .toString('base64')
        .replace(/.{64}(?=.)/g, '$&\n')
      return `${BEGIN}\n${lines}\n${END}\n`
    })
    .join('')
}
