import { hexOf } from '../bytes/text.ts'
import { parseQuote } from '../quote/quote.ts'
import { type Certificate, parseCertificate, parseRaTlsCertificate } from '../x509/certificate.ts'
import { DerError } from '../x509/der.ts'
import { SGX_EXTENSION } from '../x509/pck.ts'
import { describeCertificate, orMalformed } from './certificate.ts'
import { describeQuote } from './evidence.ts'
import { type Facts, factsOf } from './facts.ts'

/** Head of an Open Enclave report that another machine can verify: version 1, type 2. */
const OPEN_ENCLAVE_HEAD = '0100000002000000'
const OPEN_ENCLAVE_HEADER_BYTES = 16

/** Head of Open Enclave evidence: version 3, and how the id of SGX ECDSA begins. */
const OPEN_ENCLAVE_EVIDENCE_HEAD = '03000000a3a21e87'
const OPEN_ENCLAVE_EVIDENCE_HEADER_BYTES = 32

/** CBOR: tag 60000 or 60001 over an array of two, then a byte string with two bytes of length. */
const CONCEPTUAL_MESSAGE_HEAD = /^d9ea6[01]8259/
const CONCEPTUAL_MESSAGE_HEADER_BYTES = 7

/** Whether bytes begin as a quote does: a version, then the one key type. */
export function beginsAsQuote([version, high, keyType, keyHigh]: Uint8Array): boolean {
  return [3, 4, 5].includes(version ?? 0) && high === 0 && keyType === 2 && keyHigh === 0
}

/**
 * What the quote inside an extension of an RA-TLS certificate says: as it is (Gramine, Intel's SGX
 * SDK), after a header of Open Enclave's, or in a conceptual message (Confidential Computing Consortium).
 * @returns `undefined` where the extension holds none.
 * @throws QuoteFormatError
 */
function describeQuoteWithin(value: Uint8Array): Facts | undefined {
  const bytes = value.subarray(headerBytes(hexOf(value.subarray(0, 8))))
  if (!beginsAsQuote(bytes)) return undefined
  const quote = parseQuote(bytes)
  return {
    kind: `${quote.header.teeType.toUpperCase()} quote`,
    ...describeQuote(quote, quote.length),
  }
}

/** Bytes before the quote in an extension that begins like this. */
function headerBytes(head: string): number {
  if (head === OPEN_ENCLAVE_HEAD) return OPEN_ENCLAVE_HEADER_BYTES
  if (head === OPEN_ENCLAVE_EVIDENCE_HEAD) return OPEN_ENCLAVE_EVIDENCE_HEADER_BYTES
  return CONCEPTUAL_MESSAGE_HEAD.test(head) ? CONCEPTUAL_MESSAGE_HEADER_BYTES : 0
}

/**
 * What a certificate on its own says: as strict DER, or with what the certificates of older RA-TLS
 * implementations have against it; and what the quote says that such a certificate holds.
 * @throws DerError
 */
export function describeLoneCertificate(der: Uint8Array): Facts {
  const { certificate, oddity } = readLeniently(der)
  const { platform, ...facts } = describeCertificate(certificate)
  const evidence = certificate.extensions.flatMap(({ oid, value }) => {
    const quote = orMalformed(() => describeQuoteWithin(value))
    return quote === undefined ? [] : [[oid, quote] as const]
  })
  // Intel's SGX SDK put its quotes where PCK certificates have the platform.
  const isPck = !evidence.some(([oid]) => oid === SGX_EXTENSION)
  return factsOf({
    ...facts,
    platform: isPck ? platform : undefined,
    'not strict DER': oddity,
    ...Object.fromEntries(evidence.map(([oid, quote]) => [`evidence in ${oid}`, quote])),
  })
}

/** Verification never reads a certificate like this: only what a person looks at. */
function readLeniently(der: Uint8Array): {
  readonly certificate: Certificate
  readonly oddity?: string
} {
  try {
    return { certificate: parseCertificate(der) }
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    try {
      return { certificate: parseRaTlsCertificate(der), oddity: error.message }
    } catch {
      throw error
    }
  }
}
