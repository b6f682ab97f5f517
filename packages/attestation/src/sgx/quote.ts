import { type OverrunError, Reader } from '../bytes/reader.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'
import {
  encodeSgxReportBody,
  parseSgxReportBody,
  SGX_REPORT_BODY_SIZE,
  type SgxReportBody,
} from './report-body.ts'

/** The most signature data a quote may claim, in bytes. */
export const MAX_SIGNATURE_DATA = 64 * 1024

const QUOTE_VERSION = 3
const ECDSA_P256 = 2
const TEE_SGX = 0

/** Header of a version 3 quote. */
export interface SgxQuoteHeader {
  /** Layout version. */
  readonly version: 3
  /** Attestation key type: 2, ECDSA with P-256. */
  readonly attestationKeyType: 2
  /** TEE type: 0, SGX. */
  readonly teeType: 0
  /** Security version of the quoting enclave. */
  readonly qeSvn: number
  /** Security version of the provisioning certification enclave. */
  readonly pceSvn: number
  /** Vendor of the quoting enclave, 16 bytes. */
  readonly qeVendorId: Uint8Array
  /** 20 bytes; the first 16 are the id of the quoting enclave. */
  readonly userData: Uint8Array
}

/** What certifies the key that signed the QE report; `data` is not interpreted here. */
export type CertificationData =
  | {
      /** 1 PPID in plain, 2 encrypted with RSA-2048, 3 encrypted with RSA-3072; then SVNs. */
      readonly type: 1 | 2 | 3
      /** The bytes as found. */
      readonly data: Uint8Array
    }
  | {
      /** PCK leaf certificate, PEM. */
      readonly type: 4
      /** The bytes as found. */
      readonly data: Uint8Array
    }
  | {
      /** PCK chain (leaf, intermediate, root), PEM, often with a trailing NUL. */
      readonly type: 5
      /** The bytes as found. */
      readonly data: Uint8Array
    }

/** The fields a quote is made of. */
export interface SgxQuoteFields {
  /** Header. */
  readonly header: SgxQuoteHeader
  /** Report of the quoted enclave. */
  readonly report: SgxReportBody
  /** Signature over the header and report by the attestation key: r then s, big-endian. */
  readonly signature: Uint8Array
  /** Attestation public key: x then y, big-endian. */
  readonly attestationKey: Uint8Array
  /** Report of the quoting enclave. */
  readonly qeReport: SgxReportBody
  /** Signature over the QE report by the PCK: r then s, big-endian. */
  readonly qeReportSignature: Uint8Array
  /** QE authentication data, at most 65535 bytes. */
  readonly qeAuthData: Uint8Array
  /** What certifies the QE report's signer. */
  readonly certificationData: CertificationData
}

/** A parsed quote. Byte fields are views of the input. Nothing here has been verified. */
export interface SgxQuote extends SgxQuoteFields {
  /** What the attestation key signed: header and report. */
  readonly signedBytes: Uint8Array
  /** What the PCK signed: the QE report. */
  readonly qeReportBytes: Uint8Array
  /** Size of the quote; the input may be longer, and what follows was not looked at. */
  readonly length: number
}

const overflows: OverrunError = (field, offset, wanted, left) =>
  new QuoteFormatError(
    'LENGTH',
    `${field} at offset ${offset} needs ${wanted} bytes, signature data has ${left} left`,
  )

function readHeader(reader: Reader): SgxQuoteHeader {
  const version = reader.u16('version')
  if (version !== QUOTE_VERSION) {
    throw new QuoteFormatError('VERSION', `quote version ${version} is not ${QUOTE_VERSION}`)
  }
  const attestationKeyType = reader.u16('attestation key type')
  if (attestationKeyType !== ECDSA_P256) {
    throw new QuoteFormatError(
      'KEY_TYPE',
      `attestation key type ${attestationKeyType} is not ECDSA P-256`,
    )
  }
  const teeType = reader.u32('TEE type')
  if (teeType !== TEE_SGX) {
    throw new QuoteFormatError('TEE_TYPE', `TEE type ${teeType} is not SGX`)
  }
  return {
    version,
    attestationKeyType,
    teeType,
    qeSvn: reader.u16('QE SVN'),
    pceSvn: reader.u16('PCE SVN'),
    qeVendorId: reader.bytes('QE vendor id', 16),
    userData: reader.bytes('user data', 20),
  }
}

function asCertificationType(type: number): CertificationData['type'] {
  switch (type) {
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
      return type
    default:
      throw new QuoteFormatError('CERT_TYPE', `certification data type ${type} is not 1 to 5`)
  }
}

function readCertificationData(reader: Reader): CertificationData {
  const type = asCertificationType(reader.u16('certification data type'))
  const size = reader.u32('certification data size')
  const data = reader.bytes('certification data', size)
  if (reader.remaining !== 0) {
    throw new QuoteFormatError(
      'LENGTH',
      `${reader.remaining} bytes follow the certification data at offset ${reader.offset}`,
    )
  }
  return { type, data }
}

function checkSignatureDataLimit(length: number): void {
  if (length > MAX_SIGNATURE_DATA) {
    throw new QuoteFormatError(
      'LIMIT',
      `signature data of ${length} bytes exceeds ${MAX_SIGNATURE_DATA}`,
    )
  }
}

/**
 * Reads a version 3 SGX quote. The result is well-formed, not verified.
 * @param bytes - Starts with the quote; whatever follows it is ignored.
 * @throws QuoteFormatError when the bytes are not such a quote.
 */
export function parseSgxQuote(bytes: Uint8Array): SgxQuote {
  const reader = new Reader(bytes)
  const header = readHeader(reader)
  const report = parseSgxReportBody(reader.bytes('report body', SGX_REPORT_BODY_SIZE))
  const signedBytes = reader.consumed()

  const signatureLength = reader.u32('signature data length')
  checkSignatureDataLimit(signatureLength)
  const inner = reader.container('signature data', signatureLength, overflows)
  const signature = inner.bytes('signature', 64)
  const attestationKey = inner.bytes('attestation key', 64)
  const qeReportBytes = inner.bytes('QE report', SGX_REPORT_BODY_SIZE)
  const qeReportSignature = inner.bytes('QE report signature', 64)
  const qeAuthData = inner.bytes('QE auth data', inner.u16('QE auth data length'))
  const certificationData = readCertificationData(inner)

  return {
    header,
    report,
    signature,
    attestationKey,
    qeReport: parseSgxReportBody(qeReportBytes),
    qeReportSignature,
    qeAuthData,
    certificationData,
    signedBytes,
    qeReportBytes,
    length: reader.position,
  }
}

/**
 * Writes a version 3 SGX quote from its fields; the inverse of {@link parseSgxQuote}.
 * @throws QuoteFormatError when a field does not fit its place or the whole exceeds
 * {@link MAX_SIGNATURE_DATA}.
 */
export function encodeSgxQuote(quote: SgxQuoteFields): Uint8Array {
  const { header, certificationData, qeAuthData } = quote
  const inner = new Writer()
    .bytes('signature', quote.signature, 64)
    .bytes('attestation key', quote.attestationKey, 64)
    .bytes('QE report', encodeSgxReportBody(quote.qeReport), SGX_REPORT_BODY_SIZE)
    .bytes('QE report signature', quote.qeReportSignature, 64)
    .u16('QE auth data length', qeAuthData.length)
    .bytes('QE auth data', qeAuthData, qeAuthData.length)
    .u16('certification data type', certificationData.type)
    .u32('certification data size', certificationData.data.length)
    .bytes('certification data', certificationData.data, certificationData.data.length)
  checkSignatureDataLimit(inner.length)

  return new Writer()
    .u16('version', header.version)
    .u16('attestation key type', header.attestationKeyType)
    .u32('TEE type', header.teeType)
    .u16('QE SVN', header.qeSvn)
    .u16('PCE SVN', header.pceSvn)
    .bytes('QE vendor id', header.qeVendorId, 16)
    .bytes('user data', header.userData, 20)
    .bytes('report body', encodeSgxReportBody(quote.report), SGX_REPORT_BODY_SIZE)
    .u32('signature data length', inner.length)
    .bytes('signature data', inner.finish(), inner.length)
    .finish()
}
