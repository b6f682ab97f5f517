import { asciiOf, base64Of, bytesOfBase64 } from '../bytes/text.ts'
import { DerError, MAX_CRL_BYTES, MAX_DER_BYTES } from './der.ts'

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
  requireSize(input, MAX_PEM_BYTES)
  return blocksOf('CERTIFICATE', input, MAX_CERTIFICATES)
}

/**
 * The DER of one revocation list in PEM, as strictly as {@link splitPemCertificates}.
 * @throws DerError
 */
export function pemCrl(input: string): Uint8Array {
  requireSize(input, 2 * MAX_CRL_BYTES)
  const [der = new Uint8Array()] = blocksOf('X509 CRL', input, 1)
  return der
}

/** Whether a text begins as {@link pemCrl} wants it. */
export function isPemCrl(text: string): boolean {
  return text.startsWith(`${DASHES}BEGIN X509 CRL${DASHES}`, skipSpace(text, 0))
}

function requireSize({ length }: Uint8Array | string, most: number): void {
  if (length <= most) return
  throw new DerError('LIMIT', `PEM of ${length} characters; the limit is ${most}`)
}

const DASHES = '-----'

function blocksOf(label: string, input: Uint8Array | string, most: number): Uint8Array[] {
  const begin = `${DASHES}BEGIN ${label}${DASHES}`
  const end = `${DASHES}END ${label}${DASHES}`
  const whole = typeof input === 'string' ? input : asciiOf(input)
  let length = whole.length
  while (length > 0 && whole.charCodeAt(length - 1) === 0) length--
  const text = whole.slice(0, length)
  const blocks: Uint8Array[] = []
  for (let at = skipSpace(text, 0); at < text.length; ) {
    if (blocks.length === most) throw new DerError('LIMIT', `PEM has more than ${most} of ${label}`)
    if (!text.startsWith(begin, at)) {
      throw new DerError('VALUE', `PEM has text outside its blocks of ${label}`)
    }
    const start = at + begin.length
    const stop = text.indexOf(end, start)
    if (stop < 0) throw new DerError('TRUNCATED', `PEM ${label} has no end`)
    blocks.push(decode(label, text.slice(start, stop)))
    at = skipSpace(text, stop + end.length)
  }
  if (blocks.length === 0) throw new DerError('VALUE', `PEM has no ${label}`)
  return blocks
}

/** Blank, tab, and what ends lines and pages; of ASCII alone. */
const SPACE = ' \t\n\v\f\r'

function skipSpace(text: string, from: number): number {
  let at = from
  while (at < text.length && SPACE.includes(text.charAt(at))) at++
  return at
}

function decode(label: string, body: string): Uint8Array {
  const base64 = body.replace(/[ \t\n\v\f\r]+/g, '')
  const bytes = bytesOfBase64(base64)
  if (bytes === undefined || bytes.length === 0) {
    throw new DerError('VALUE', `PEM ${label} is not canonical base64`)
  }
  return bytes
}

/** Writes certificates (DER) as concatenated PEM with a line break at the end. */
export function encodePemCertificates(...certificates: readonly Uint8Array[]): string {
  const blocks = certificates.map(certificate => {
    const lines = base64Of(certificate).replace(/.{64}(?=.)/g, '$&\n')
    return `${DASHES}BEGIN CERTIFICATE${DASHES}\n${lines}\n${DASHES}END CERTIFICATE${DASHES}\n`
  })
  return blocks.join('')
}
