import { Reader } from '../bytes/reader.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'

/** Size of an SGX report body in bytes. */
export const SGX_REPORT_BODY_SIZE = 384

/** Bits of an enclave's attribute flags. */
export const SGX_FLAGS = {
  init: 1n << 0n,
  debug: 1n << 1n,
  mode64Bit: 1n << 2n,
  provisionKey: 1n << 4n,
  einitTokenKey: 1n << 5n,
  cet: 1n << 6n,
  kss: 1n << 7n,
  aexNotify: 1n << 10n,
} as const

/** An enclave's attributes. */
export interface SgxAttributes {
  /** Flag bits, see {@link SGX_FLAGS}. */
  readonly flags: bigint
  /** Extended feature mask (XFRM). */
  readonly xfrm: bigint
}

/** What the processor reports about an enclave. Byte fields are views of the parsed input. */
export interface SgxReportBody {
  /** Security version of the processor, 16 opaque bytes. */
  readonly cpuSvn: Uint8Array
  /** Selected miscellaneous features. */
  readonly miscSelect: number
  /** 12 reserved bytes after MISCSELECT (CET-enabled enclaves may use the first), kept as found. */
  readonly reserved1: Uint8Array
  /** Extended product id, 16 bytes. */
  readonly isvExtProdId: Uint8Array
  /** Attributes the enclave runs with. */
  readonly attributes: SgxAttributes
  /** Measurement of the enclave, 32 bytes. */
  readonly mrEnclave: Uint8Array
  /** 32 reserved bytes after MRENCLAVE, kept as found. */
  readonly reserved2: Uint8Array
  /** Hash of the enclave signer's public key, 32 bytes. */
  readonly mrSigner: Uint8Array
  /** 32 reserved bytes after MRSIGNER, kept as found. */
  readonly reserved3: Uint8Array
  /** Configuration id, 64 bytes. */
  readonly configId: Uint8Array
  /** Product id the signer gave the enclave. */
  readonly isvProdId: number
  /** Security version the signer gave the enclave. */
  readonly isvSvn: number
  /** Security version of the configuration. */
  readonly configSvn: number
  /** 42 reserved bytes after CONFIGSVN, kept as found. */
  readonly reserved4: Uint8Array
  /** Product family id, 16 bytes. */
  readonly isvFamilyId: Uint8Array
  /** What the enclave chose to have reported, 64 bytes. */
  readonly reportData: Uint8Array
}

/**
 * Reads a report body.
 * @param bytes - Exactly {@link SGX_REPORT_BODY_SIZE} bytes.
 * @throws QuoteFormatError `TRUNCATED` when shorter, `LENGTH` when longer.
 */
export function parseSgxReportBody(bytes: Uint8Array): SgxReportBody {
  if (bytes.length > SGX_REPORT_BODY_SIZE) {
    throw new QuoteFormatError('LENGTH', `report body has ${bytes.length} bytes`)
  }
  const reader = new Reader(bytes)
  // Object members are evaluated in the order written, which is the order of the fields.
  return {
    cpuSvn: reader.bytes('CPUSVN', 16),
    miscSelect: reader.u32('MISCSELECT'),
    reserved1: reader.bytes('reserved 1', 12),
    isvExtProdId: reader.bytes('ISVEXTPRODID', 16),
    attributes: { flags: reader.u64('ATTRIBUTES.FLAGS'), xfrm: reader.u64('ATTRIBUTES.XFRM') },
    mrEnclave: reader.bytes('MRENCLAVE', 32),
    reserved2: reader.bytes('reserved 2', 32),
    mrSigner: reader.bytes('MRSIGNER', 32),
    reserved3: reader.bytes('reserved 3', 32),
    configId: reader.bytes('CONFIGID', 64),
    isvProdId: reader.u16('ISVPRODID'),
    isvSvn: reader.u16('ISVSVN'),
    configSvn: reader.u16('CONFIGSVN'),
    reserved4: reader.bytes('reserved 4', 42),
    isvFamilyId: reader.bytes('ISVFAMILYID', 16),
    reportData: reader.bytes('REPORTDATA', 64),
  }
}

/**
 * Writes a report body; the inverse of {@link parseSgxReportBody}.
 * @throws QuoteFormatError `LENGTH` when a field does not fit its place.
 */
export function encodeSgxReportBody(body: SgxReportBody): Uint8Array {
  return new Writer()
    .bytes('CPUSVN', body.cpuSvn, 16)
    .u32('MISCSELECT', body.miscSelect)
    .bytes('reserved 1', body.reserved1, 12)
    .bytes('ISVEXTPRODID', body.isvExtProdId, 16)
    .u64('ATTRIBUTES.FLAGS', body.attributes.flags)
    .u64('ATTRIBUTES.XFRM', body.attributes.xfrm)
    .bytes('MRENCLAVE', body.mrEnclave, 32)
    .bytes('reserved 2', body.reserved2, 32)
    .bytes('MRSIGNER', body.mrSigner, 32)
    .bytes('reserved 3', body.reserved3, 32)
    .bytes('CONFIGID', body.configId, 64)
    .u16('ISVPRODID', body.isvProdId)
    .u16('ISVSVN', body.isvSvn)
    .u16('CONFIGSVN', body.configSvn)
    .bytes('reserved 4', body.reserved4, 42)
    .bytes('ISVFAMILYID', body.isvFamilyId, 16)
    .bytes('REPORTDATA', body.reportData, 64)
    .finish()
}
