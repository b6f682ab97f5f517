import { Reader } from '../bytes/reader.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'

/** Which platform made a quote, where the quote holds no certificate: types 1 to 3. */
export interface PlatformIdentifier {
  /** 1 PPID in plain; 2 encrypted with RSA-2048-OAEP; 3 with RSA-3072-OAEP. */
  readonly type: 1 | 2 | 3
  /** The PPID as found: 16, 256 or 384 bytes. */
  readonly ppid: Uint8Array
  /** 16 bytes. */
  readonly cpuSvn: Uint8Array
  readonly pceSvn: number
  /** 2 bytes; Intel's own sample of type 1 ends before it. */
  readonly pceId?: Uint8Array
}

/** Certificates as PEM: 4 the PCK leaf; 5 the chain (leaf, intermediate, root), often NUL-ended. */
export interface PckCertificates {
  readonly type: 4 | 5
  /** The bytes as found. */
  readonly data: Uint8Array
}

/** What certifies the key that signed the QE report. */
export type CertificationData = PlatformIdentifier | PckCertificates

/** Sizes of a PPID in types 1 to 3. @see Intel DCAP, `sgx_ql_ppid_*_cert_info_t` */
export const PPID_SIZES = { 1: 16, 2: 256, 3: 384 } as const

/** CPUSVN, PCESVN, PCEID. */
const SVN_SIZE = 20

/**
 * Reads type, size and data, which must fill the reader.
 * @throws QuoteFormatError CERT_TYPE, LENGTH. Type 6 is no certification of a QE report, and type 7
 * (a platform manifest) holds nothing to verify with.
 */
export function readCertificationData(reader: Reader): CertificationData {
  const type = reader.u16('certification data type')
  const data = reader.bytes('certification data', reader.u32('certification data size'))
  if (reader.remaining !== 0) {
    throw new QuoteFormatError(
      'LENGTH',
      `${reader.remaining} bytes follow the certification data at offset ${reader.offset}`,
    )
  }
  switch (type) {
    case 1:
    case 2:
    case 3:
      return readPlatformIdentifier(type, data)
    case 4:
    case 5:
      return { type, data }
    default:
      throw new QuoteFormatError('CERT_TYPE', `certification data type ${type} is not 1 to 5`)
  }
}

function readPlatformIdentifier(type: 1 | 2 | 3, data: Uint8Array): PlatformIdentifier {
  const whole = PPID_SIZES[type] + SVN_SIZE
  const noPceId = type === 1 && data.length === whole - 2
  if (data.length !== whole && !noPceId) {
    throw new QuoteFormatError(
      'LENGTH',
      `certification data of type ${type} has ${whole} bytes, saw ${data.length}`,
    )
  }
  const reader = new Reader(data)
  return {
    type,
    ppid: reader.bytes('PPID', PPID_SIZES[type]),
    cpuSvn: reader.bytes('CPUSVN', 16),
    pceSvn: reader.u16('PCESVN'),
    ...(noPceId ? {} : { pceId: reader.bytes('PCEID', 2) }),
  }
}

/** Writes type, size and data; the inverse of {@link readCertificationData}. */
export function writeCertificationData(writer: Writer, value: CertificationData): Writer {
  const data = encodeData(value)
  return writer
    .u16('certification data type', value.type)
    .u32('certification data size', data.length)
    .bytes('certification data', data, data.length)
}

function encodeData(value: CertificationData): Uint8Array {
  if ('data' in value) return value.data
  const writer = new Writer()
    .bytes('PPID', value.ppid, PPID_SIZES[value.type])
    .bytes('CPUSVN', value.cpuSvn, 16)
    .u16('PCESVN', value.pceSvn)
  const { pceId } = value
  if (pceId === undefined && value.type !== 1) {
    throw new QuoteFormatError('LENGTH', `certification data of type ${value.type} lacks PCEID`)
  }
  return (pceId === undefined ? writer : writer.bytes('PCEID', pceId, 2)).finish()
}
