import { createHash, createPublicKey } from 'node:crypto'
import { AttestedCertificateError } from '../errors.ts'
import { malformed } from './cbor.ts'

/** What of an Open Enclave extension is a quote, and what binds that to the key. */
export interface OpenEnclaveEvidence {
  readonly quote: Uint8Array
  readonly boundDigest: Uint8Array
}

/** `oe_report_header_t`: version 1, type 2 (remote), u64 length. */
const REPORT_HEAD = Buffer.from('0100000002000000', 'hex')
const REPORT_LENGTH_AT = 8
const REPORT_AT = 16

/** Reads a report. @throws AttestedCertificateError EVIDENCE */
export function readOpenEnclaveReport(value: Uint8Array, spki: Uint8Array): OpenEnclaveEvidence {
  const bytes = Buffer.from(value)
  const isRemote =
    bytes.length > REPORT_AT &&
    bytes.subarray(0, REPORT_LENGTH_AT).equals(REPORT_HEAD) &&
    bytes.readBigUInt64LE(REPORT_LENGTH_AT) === BigInt(bytes.length - REPORT_AT)
  if (!isRemote) {
    throw malformed('wanted an Open Enclave report: version 1, remote, of the length it says')
  }
  return { quote: value.subarray(REPORT_AT), boundDigest: sha256(pemWithNul(spki)) }
}

/**
 * `oe_attestation_header_t`: u32 version 3, the format's UUID (OE_FORMAT_UUID_SGX_ECDSA), four
 * bytes that are there for alignment and may hold anything, u64 length.
 */
const EVIDENCE_HEAD = Buffer.from('03000000a3a21e871b4d4014b70aa125d2fbcd8c', 'hex')
const EVIDENCE_LENGTH_AT = 24
const EVIDENCE_AT = 32

/** A quote of version 3 up to its signature data, whose length it ends with. */
const QUOTE_VERSION = 3
const QUOTE_LENGTH_AT = 432
const QUOTE_HEAD_BYTES = 436

/**
 * Reads evidence: a quote, then the custom claims, which are the key. The quote's report data is
 * their SHA-256.
 * @throws AttestedCertificateError EVIDENCE, BINDING
 * @see Open Enclave, common/attest_plugin.h; docs/DesignDocs/CustomAttestation_V3.md
 */
export function readOpenEnclaveEvidence(value: Uint8Array, spki: Uint8Array): OpenEnclaveEvidence {
  const bytes = Buffer.from(value)
  const isSgxEcdsa =
    bytes.length > EVIDENCE_AT &&
    bytes.subarray(0, EVIDENCE_HEAD.length).equals(EVIDENCE_HEAD) &&
    bytes.readBigUInt64LE(EVIDENCE_LENGTH_AT) === BigInt(bytes.length - EVIDENCE_AT)
  if (!isSgxEcdsa) {
    throw malformed('wanted Open Enclave evidence: version 3, SGX ECDSA, of the length it says')
  }
  const data = value.subarray(EVIDENCE_AT)
  const end = quoteLength(bytes.subarray(EVIDENCE_AT))
  const claims = data.subarray(end)
  if (Buffer.compare(claims, pemWithNul(spki)) !== 0) {
    throw new AttestedCertificateError('BINDING', 'the claims name another key')
  }
  return { quote: data.subarray(0, end), boundDigest: sha256(claims) }
}

function quoteLength(data: Buffer): number {
  if (data.length < QUOTE_HEAD_BYTES || data.readUInt16LE(0) !== QUOTE_VERSION) {
    throw malformed('wanted a quote of version 3 in the Open Enclave evidence')
  }
  const length = QUOTE_HEAD_BYTES + data.readUInt32LE(QUOTE_LENGTH_AT)
  if (length > data.length) throw malformed('the quote is longer than the Open Enclave evidence')
  return length
}

/** Open Enclave has the key as a C string: PEM with the NUL at its end. */
function pemWithNul(spki: Uint8Array): Uint8Array {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return Buffer.from(`${key.export({ format: 'pem', type: 'spki' })}\0`, 'latin1')
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest())
}
