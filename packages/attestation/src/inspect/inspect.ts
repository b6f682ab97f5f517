import { asciiOf, bytesOfBase64, bytesOfHex } from '../bytes/text.ts'
import { isEventLog, parseEventLog } from '../event-log/event-log.ts'
import { parseQuote } from '../quote/quote.ts'
import { isSnpCertificateTable, parseSnpCertificateTable } from '../sev-snp/certificate-table.ts'
import { isHclEnvelope, parseHclEnvelope } from '../sev-snp/hcl.ts'
import { isSnpReport, parseSnpReport } from '../sev-snp/report.ts'
import { parseCrl } from '../x509/crl.ts'
import { MAX_CRL_BYTES, parseDer } from '../x509/der.ts'
import { isPemCrl, pemCrl, splitPemCertificates } from '../x509/pem.ts'
import { describeCrl } from './certificate.ts'
import { describeEventLog } from './event-log.ts'
import { describeQuote, describeSnpReport } from './evidence.ts'
import type { Facts } from './facts.ts'
import { describeJson } from './json.ts'
import { beginsAsQuote, describeLoneCertificate } from './quote-within.ts'

/** What an input is, and what it says of itself. Nothing of it is verified. */
export interface Inspection {
  /** For people: `SGX quote`, `certificate chain`, … */
  readonly kind: string
  readonly facts: Facts
}

const MAX_INPUT_BYTES = 16 << 20
/** Tag of the version in a certificate. */
const EXPLICIT_VERSION = 0xa0
const CERTIFICATE_PEM = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/**
 * Tells what bytes are and what they say: a quote, a SEV-SNP report, an HCL envelope, certificates,
 * a revocation list, TCB info, an identity, collateral as JSON; binary, PEM, hexadecimal or base64.
 * @returns `undefined` when they are none of these.
 * @throws QuoteFormatError, DerError, CollateralError when they begin as one of these, and are not.
 */
export function inspect(bytes: Uint8Array): Inspection | undefined {
  if (bytes.length > MAX_INPUT_BYTES) return undefined
  const text = textOf(bytes)
  return text === undefined ? inspectBinary(bytes) : inspectText(text)
}

/**
 * The bytes of evidence in a file: binary as they are, text as hexadecimal or base64.
 * @returns `undefined` for text that is neither.
 */
export function evidenceBytes(bytes: Uint8Array): Uint8Array | undefined {
  const text = textOf(bytes)
  return text === undefined ? bytes : decoded(text)
}

function inspectBinary(bytes: Uint8Array): Inspection | undefined {
  if (isHclEnvelope(bytes)) {
    const { report, runtimeData } = parseHclEnvelope(bytes)
    const facts = { report: describeSnpReport(parseSnpReport(report)), runtimeData }
    return { kind: 'HCL envelope with a SEV-SNP report', facts }
  }
  if (isSnpReport(bytes)) {
    return { kind: 'SEV-SNP report', facts: describeSnpReport(parseSnpReport(bytes)) }
  }
  if (beginsAsQuote(bytes)) {
    const quote = parseQuote(bytes)
    const kind = `${quote.header.teeType.toUpperCase()} quote`
    return { kind, facts: describeQuote(quote, bytes.length) }
  }
  if (isSnpCertificateTable(bytes)) {
    const certificates = Object.entries(parseSnpCertificateTable(bytes)).map(
      ([name, der]) => [name.toUpperCase(), inspectDer(der).facts] as const,
    )
    return { kind: 'SEV-SNP certificate table', facts: Object.fromEntries(certificates) }
  }
  if (isEventLog(bytes)) {
    return { kind: 'event log', facts: describeEventLog(parseEventLog(bytes)) }
  }
  return bytes[0] === 0x30 ? inspectDer(bytes) : undefined
}

/** A certificate's body begins with an explicit version, a list's with the version itself. */
function inspectDer(bytes: Uint8Array): Inspection {
  const body = parseDer(bytes, MAX_CRL_BYTES).children[0]
  return body?.children[0]?.tag === EXPLICIT_VERSION
    ? { kind: 'certificate', facts: describeLoneCertificate(bytes) }
    : { kind: 'revocation list', facts: describeCrl(parseCrl(bytes)) }
}

function inspectText(given: string): Inspection | undefined {
  if (given.startsWith('{') || given.startsWith('[')) return inspectJson(given)
  // As the headers of PCS and PCCS have their chains.
  const text = given.startsWith('-----BEGIN%20') ? unescaped(given) : given
  if (isPemCrl(text)) return inspectDer(pemCrl(text))
  if (text.includes('-----BEGIN CERTIFICATE-----')) {
    // Tools write names and texts between them.
    const blocks = text.replaceAll('\r\n', '\n').match(CERTIFICATE_PEM) ?? [text]
    const certificates = splitPemCertificates(blocks.join('\n')).map(describeLoneCertificate)
    return { kind: 'certificate chain', facts: { certificates } }
  }
  const bytes = decoded(text)
  return bytes === undefined ? undefined : inspectBinary(bytes)
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** JSON that is itself known; or whose members are, each as text. */
function inspectJson(text: string): Inspection | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return describeJson(value) ?? inspectMembers(value)
}

/** What services and their clients pack together: chains, lists and documents as text. */
function inspectMembers(value: unknown): Inspection | undefined {
  const members = Object.entries(typeof value === 'object' && value !== null ? value : {}).flatMap(
    ([name, member]) => {
      const found = inspectMember(member)
      return found === undefined ? [] : [[`${name}: ${found.kind}`, found.facts] as const]
    },
  )
  if (members.length === 0) return undefined
  return { kind: 'JSON with parts that are known', facts: Object.fromEntries(members) }
}

/** Looked into once: no member of a member. A chain may be a list of its certificates. */
function inspectMember(member: unknown): Inspection | undefined {
  const lines = Array.isArray(member) ? member : [member]
  if (!lines.every(line => typeof line === 'string')) return describeJson(member)
  const text = lines.join('\n').trim()
  if (text.startsWith('-----BEGIN')) return inspectText(text)
  if (!text.startsWith('{')) return undefined
  try {
    return describeJson(JSON.parse(text))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Hexadecimal or base64, with line breaks. */
function decoded(text: string): Uint8Array | undefined {
  const plain = text.replace(/\s+/g, '')
  if (plain === '') return undefined
  if (plain.length % 2 === 0 && /^[0-9a-fA-F]+$/.test(plain)) {
    return bytesOfHex(plain)
  }
  return bytesOfBase64(plain)
}

/** The byte order mark of UTF-8, which some tools write before text. */
function beginsWithMark([first, second, third]: Uint8Array): boolean {
  return first === 0xef && second === 0xbb && third === 0xbf
}

/** Text in printable ASCII; `undefined` when there is any other byte. */
function textOf(bytes: Uint8Array): string | undefined {
  const isText = (byte: number) => (byte >= 0x20 && byte < 0x7f) || [9, 10, 13].includes(byte)
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  const body = bytes.subarray(beginsWithMark(bytes) ? 3 : 0, end)
  if (body.length === 0 || !body.every(isText)) return undefined
  return asciiOf(body).trim()
}
