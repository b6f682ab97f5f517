import { readCollateralJson } from '../collateral/collateral-json.ts'
import { isEventLog, parseEventLog } from '../event-log/event-log.ts'
import { parseQuote } from '../quote/quote.ts'
import { isHclEnvelope, parseHclEnvelope } from '../sev-snp/hcl.ts'
import { isSnpReport, parseSnpReport } from '../sev-snp/report.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { parseCrl } from '../x509/crl.ts'
import { splitPemCertificates } from '../x509/pem.ts'
import { describeCertificate, describeCrl } from './certificate.ts'
import { describeIdentity, describeTcbInfo, innerDocument } from './collateral.ts'
import { describeEventLog } from './event-log.ts'
import { describeQuote, describeSnpReport } from './evidence.ts'
import type { Facts } from './facts.ts'

/** What an input is, and what it says of itself. Nothing of it is verified. */
export interface Inspection {
  /** For people: `SGX quote`, `certificate chain`, … */
  readonly kind: string
  readonly facts: Facts
}

const MAX_INPUT_BYTES = 16 << 20
const CRL_PEM = /^-----BEGIN X509 CRL-----\n([A-Za-z0-9+/=\n]+)-----END X509 CRL-----\n*$/

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
  if (isEventLog(bytes)) {
    return { kind: 'event log', facts: describeEventLog(parseEventLog(bytes)) }
  }
  return bytes[0] === 0x30 ? inspectDer(bytes) : undefined
}

/** A version and then the one key type. */
function beginsAsQuote([version, high, keyType, keyHigh]: Uint8Array): boolean {
  return [3, 4, 5].includes(version ?? 0) && high === 0 && keyType === 2 && keyHigh === 0
}

/** A certificate's body begins with an explicit version, a list's with the version itself. */
function inspectDer(bytes: Uint8Array): Inspection {
  try {
    return { kind: 'certificate', facts: describeCertificate(parseCertificate(bytes)) }
  } catch (error) {
    try {
      return { kind: 'revocation list', facts: describeCrl(parseCrl(bytes)) }
    } catch {
      throw error
    }
  }
}

function inspectText(text: string): Inspection | undefined {
  const crl = CRL_PEM.exec(text.replaceAll('\r\n', '\n'))
  if (crl !== null) return inspectDer(Buffer.from(crl[1] ?? '', 'base64'))
  if (text.startsWith('-----BEGIN CERTIFICATE-----')) {
    const certificates = splitPemCertificates(text).map(parseCertificate).map(describeCertificate)
    return { kind: 'certificate chain', facts: { certificates } }
  }
  if (text.startsWith('{')) return inspectJson(text)
  const bytes = decoded(text)
  return bytes === undefined ? undefined : inspectBinary(bytes)
}

function inspectJson(text: string): Inspection | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const tcbInfo = innerDocument(value, 'tcbInfo')
  if (tcbInfo !== undefined) return { kind: 'TCB info', facts: describeTcbInfo(tcbInfo) }
  const identity = innerDocument(value, 'enclaveIdentity')
  if (identity !== undefined) return { kind: 'identity', facts: describeIdentity(identity) }
  if (typeof value !== 'object' || value === null || !('tcb_info' in value)) return undefined
  const collateral = readCollateralJson(value)
  const chain = (pem: string) =>
    splitPemCertificates(pem).map(parseCertificate).map(describeCertificate)
  return {
    kind: 'collateral',
    facts: {
      'TCB info': describeTcbInfo(JSON.parse(collateral.tcbInfo)),
      'QE identity': describeIdentity(JSON.parse(collateral.qeIdentity)),
      'root CA’s revocation list': describeCrl(parseCrl(collateral.rootCaCrl)),
      'PCK CA’s revocation list': describeCrl(parseCrl(collateral.pckCrl)),
      'PCK CA chain': chain(collateral.pckCrlIssuerChain),
      'TCB signing chain': chain(collateral.tcbInfoIssuerChain),
    },
  }
}

/** Hexadecimal or base64, with line breaks. */
function decoded(text: string): Uint8Array | undefined {
  const plain = text.replace(/\s+/g, '')
  if (plain === '') return undefined
  if (plain.length % 2 === 0 && /^[0-9a-fA-F]+$/.test(plain)) {
    return new Uint8Array(Buffer.from(plain, 'hex'))
  }
  return /^[A-Za-z0-9+/]+={0,2}$/.test(plain)
    ? new Uint8Array(Buffer.from(plain, 'base64'))
    : undefined
}

/** Text in printable ASCII; `undefined` when there is any other byte. */
function textOf(bytes: Uint8Array): string | undefined {
  const isText = (byte: number) => (byte >= 0x20 && byte < 0x7f) || [9, 10, 13].includes(byte)
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  const body = bytes.subarray(0, end)
  if (body.length === 0 || !body.every(isText)) return undefined
  return Buffer.from(body).toString('latin1').trim()
}
