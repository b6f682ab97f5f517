import type { Reader } from '../bytes/reader.ts'
import type { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'

/** Attestation key type: ECDSA with P-256, the one in use. */
const ECDSA_P256 = 2

/** TEE types as the header has them. */
const TEE_TYPES = { sgx: 0, tdx: 0x81 } as const

/** Header of a quote, 48 bytes in every version. */
export interface QuoteHeader {
  /** Layout version: 3 (SGX alone), 4 or 5. */
  readonly version: 3 | 4 | 5
  /** Attestation key type: 2, ECDSA with P-256. */
  readonly attestationKeyType: 2
  /** What is quoted: an SGX enclave or a trust domain. */
  readonly teeType: keyof typeof TEE_TYPES
  /** Security version of the quoting enclave; reserved from version 4 on, kept as found. */
  readonly qeSvn: number
  /** Security version of the provisioning certification enclave; likewise. */
  readonly pceSvn: number
  /** Vendor of the quoting enclave, 16 bytes. */
  readonly qeVendorId: Uint8Array
  /** 20 bytes; the first 16 are the id of the quoting enclave. */
  readonly userData: Uint8Array
}

/** Reads a header. @throws QuoteFormatError TRUNCATED, VERSION, KEY_TYPE, TEE_TYPE */
export function readHeader(reader: Reader): QuoteHeader {
  const version = reader.u16('version')
  if (version !== 3 && version !== 4 && version !== 5) {
    throw new QuoteFormatError('VERSION', `quote version: wanted 3, 4 or 5, saw ${version}`)
  }
  const attestationKeyType = reader.u16('attestation key type')
  if (attestationKeyType !== ECDSA_P256) {
    throw new QuoteFormatError(
      'KEY_TYPE',
      `attestation key type ${attestationKeyType} is not ECDSA P-256`,
    )
  }
  return {
    version,
    attestationKeyType,
    teeType: teeTypeOf(version, reader.u32('TEE type')),
    qeSvn: reader.u16('QE SVN'),
    pceSvn: reader.u16('PCE SVN'),
    qeVendorId: reader.bytes('QE vendor id', 16),
    userData: reader.bytes('user data', 20),
  }
}

function teeTypeOf(version: QuoteHeader['version'], type: number): QuoteHeader['teeType'] {
  if (type === TEE_TYPES.sgx) return 'sgx'
  // Version 3 has no TEE type: the field is reserved and zero.
  if (type === TEE_TYPES.tdx && version !== 3) return 'tdx'
  throw new QuoteFormatError(
    'TEE_TYPE',
    `TEE type 0x${type.toString(16)} in a quote of version ${version}`,
  )
}

/** Writes a header; the inverse of {@link readHeader}. */
export function writeHeader(writer: Writer, header: QuoteHeader): Writer {
  const type = TEE_TYPES[header.teeType]
  teeTypeOf(header.version, type)
  return writer
    .u16('version', header.version)
    .u16('attestation key type', header.attestationKeyType)
    .u32('TEE type', type)
    .u16('QE SVN', header.qeSvn)
    .u16('PCE SVN', header.pceSvn)
    .bytes('QE vendor id', header.qeVendorId, 16)
    .bytes('user data', header.userData, 20)
}
