import type { OverrunError, Reader } from '../bytes/reader.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'
import {
  encodeSgxReportBody,
  parseSgxReportBody,
  SGX_REPORT_BODY_SIZE,
  type SgxReportBody,
} from '../sgx/report-body.ts'
import {
  type CertificationData,
  readCertificationData,
  writeCertificationData,
} from './certification-data.ts'
import type { QuoteHeader } from './header.ts'

/** The most signature data a quote may claim, in bytes. */
export const MAX_SIGNATURE_DATA = 64 * 1024

/** Certification data type of the container that versions 4 and 5 put around the QE report. */
const QE_REPORT_CERTIFICATION = 6

/** What follows the signed part of a quote. */
export interface SignatureData {
  /** Signature over the signed part by the attestation key: r then s, big-endian. */
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

/** Signature data and the bytes of the QE report, which the PCK signed. */
export interface ReadSignatureData extends SignatureData {
  readonly qeReportBytes: Uint8Array
}

const overflows: OverrunError = (field, offset, wanted, left) =>
  new QuoteFormatError(
    'LENGTH',
    `${field} at offset ${offset} needs ${wanted} bytes, its container has ${left} left`,
  )

function requireWithinLimit(length: number): void {
  if (length > MAX_SIGNATURE_DATA) {
    throw new QuoteFormatError(
      'LIMIT',
      `signature data of ${length} bytes exceeds ${MAX_SIGNATURE_DATA}`,
    )
  }
}

/**
 * Reads the length and the signature data it announces. Sizes inside must nest exactly.
 * @throws QuoteFormatError TRUNCATED, LIMIT, LENGTH, CERT_TYPE
 */
export function readSignatureData(
  reader: Reader,
  version: QuoteHeader['version'],
): ReadSignatureData {
  const length = reader.u32('signature data length')
  requireWithinLimit(length)
  const outer = reader.container('signature data', length, overflows)
  const signature = outer.bytes('signature', 64)
  const attestationKey = outer.bytes('attestation key', 64)
  const inner = version === 3 ? outer : readContainer(outer)
  const qeReportBytes = inner.bytes('QE report', SGX_REPORT_BODY_SIZE)
  return {
    signature,
    attestationKey,
    qeReportBytes,
    qeReport: parseSgxReportBody(qeReportBytes),
    qeReportSignature: inner.bytes('QE report signature', 64),
    qeAuthData: inner.bytes('QE auth data', inner.u16('QE auth data length')),
    certificationData: readCertificationData(inner),
  }
}

function readContainer(outer: Reader): Reader {
  const type = outer.u16('certification data type')
  if (type !== QE_REPORT_CERTIFICATION) {
    throw new QuoteFormatError('CERT_TYPE', `outer certification data type: wanted 6, saw ${type}`)
  }
  const inner = outer.container('certification data', outer.u32('certification data size'))
  if (outer.remaining !== 0) {
    throw new QuoteFormatError(
      'LENGTH',
      `${outer.remaining} bytes follow the certification data at offset ${outer.offset}`,
    )
  }
  return inner
}

/** Writes length and signature data; the inverse of {@link readSignatureData}. */
export function writeSignatureData(
  writer: Writer,
  version: QuoteHeader['version'],
  data: SignatureData,
): Writer {
  const { qeAuthData } = data
  const inner = new Writer()
    .bytes('QE report', encodeSgxReportBody(data.qeReport), SGX_REPORT_BODY_SIZE)
    .bytes('QE report signature', data.qeReportSignature, 64)
    .u16('QE auth data length', qeAuthData.length)
    .bytes('QE auth data', qeAuthData, qeAuthData.length)
  writeCertificationData(inner, data.certificationData)
  const outer = new Writer()
    .bytes('signature', data.signature, 64)
    .bytes('attestation key', data.attestationKey, 64)
  if (version !== 3) {
    outer
      .u16('certification data type', QE_REPORT_CERTIFICATION)
      .u32('certification data size', inner.length)
  }
  outer.bytes('certified QE report', inner.finish(), inner.length)
  requireWithinLimit(outer.length)
  return writer
    .u32('signature data length', outer.length)
    .bytes('signature data', outer.finish(), outer.length)
}
