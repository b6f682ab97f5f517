import { Reader } from '../bytes/reader.ts'
import { Writer } from '../bytes/writer.ts'
import { TD_REPORT_1_5_SIZE } from '../tdx/td-report.ts'
import { type QuoteBody, readBody, writeBody } from './body.ts'
import { type QuoteHeader, readHeader, writeHeader } from './header.ts'
import {
  MAX_SIGNATURE_DATA,
  type ReadSignatureData,
  readSignatureData,
  type SignatureData,
  writeSignatureData,
} from './signature-data.ts'

/** The most bytes a quote can have: header, descriptor and body of version 5, signature data. */
export const MAX_QUOTE_BYTES = 48 + 6 + TD_REPORT_1_5_SIZE + 4 + MAX_SIGNATURE_DATA

/** The fields a quote is made of. */
export interface QuoteFields extends SignatureData {
  /** Header. */
  readonly header: QuoteHeader
  /** The quoted enclave or trust domain. */
  readonly body: QuoteBody
}

/** A parsed quote. Byte fields are views of the input. Nothing here has been verified. */
export interface Quote extends QuoteFields, ReadSignatureData {
  /** What the attestation key signed: header, descriptor of version 5, body. */
  readonly signedBytes: Uint8Array
  /** Size of the quote; the input may be longer, and what follows was not looked at. */
  readonly length: number
}

/**
 * Reads an SGX quote of version 3, 4 or 5 or a TDX quote of version 4 or 5. The result is
 * well-formed, not verified.
 * @param bytes - Starts with the quote; whatever follows it is ignored.
 * @throws QuoteFormatError when the bytes are not such a quote.
 * @see Intel SGX and TDX DCAP quoting library API, quote format
 */
export function parseQuote(bytes: Uint8Array): Quote {
  const reader = new Reader(bytes)
  const header = readHeader(reader)
  const body = readBody(reader, header)
  const signedBytes = reader.consumed()
  const signatureData = readSignatureData(reader, header.version)
  return { header, body, ...signatureData, signedBytes, length: reader.position }
}

/**
 * Writes a quote from its fields; the inverse of {@link parseQuote}.
 * @throws QuoteFormatError when a field does not fit its place or the whole exceeds the limit.
 */
export function encodeQuote(quote: QuoteFields): Uint8Array {
  return writeSignatureData(writeSignedPart(quote), quote.header.version, quote).finish()
}

/** Writes the part of a quote that the attestation key signs. */
export function encodeSignedPart(quote: Pick<QuoteFields, 'header' | 'body'>): Uint8Array {
  return writeSignedPart(quote).finish()
}

function writeSignedPart({ header, body }: Pick<QuoteFields, 'header' | 'body'>): Writer {
  return writeBody(writeHeader(new Writer(), header), header, body)
}
