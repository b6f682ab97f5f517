import { Reader } from '../bytes/reader.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'

/** Size of a TD report 1.0 in bytes. */
export const TD_REPORT_1_0_SIZE = 584

/** Size of a TD report 1.5 in bytes: 1.0 and 64 more. */
export const TD_REPORT_1_5_SIZE = 648

/**
 * Bits of a TD's attributes (TDATTRIBUTES).
 * @see Intel TDX module ABI reference, TD_ATTRIBUTES; Linux, arch/x86/include/asm/shared/tdx.h
 */
export const TD_ATTRIBUTES = {
  debug: 1n << 0n,
  icssd: 1n << 16n,
  lass: 1n << 27n,
  septVeDisable: 1n << 28n,
  migratable: 1n << 29n,
  pks: 1n << 30n,
  keyLocker: 1n << 31n,
  tpa: 1n << 62n,
  perfmon: 1n << 63n,
} as const

/** Bits 0 to 7 (TUD): any of them set, and the TD is not to be trusted. */
export const TD_UNTRUSTED = 0xffn

/** Bits of TDATTRIBUTES that no published module gives a meaning. */
export const TD_RESERVED = BigInt.asUintN(
  64,
  ~Object.values(TD_ATTRIBUTES).reduce((all, bit) => all | bit, TD_UNTRUSTED),
)

/** What both versions of a TD report say. Byte fields are views of the parsed input. */
interface TdReportFields {
  /** Security versions of the TDX module the TD was launched under, 16 bytes. */
  readonly teeTcbSvn: Uint8Array
  /** Measurement of the TDX module, 48 bytes. */
  readonly mrSeam: Uint8Array
  /** Signer of the TDX module, 48 bytes; zero for Intel's. */
  readonly mrSignerSeam: Uint8Array
  /** Attributes of the TDX module, 8 bytes. */
  readonly seamAttributes: Uint8Array
  /** Attributes of the TD, see {@link TD_ATTRIBUTES}. */
  readonly tdAttributes: bigint
  /** Extended features the TD may use. */
  readonly xfam: bigint
  /** Measurement of the TD's initial contents, 48 bytes. */
  readonly mrTd: Uint8Array
  /** Configuration of the TD that its owner does not own, 48 bytes. */
  readonly mrConfigId: Uint8Array
  /** The TD's owner, 48 bytes. */
  readonly mrOwner: Uint8Array
  /** Configuration by the TD's owner, 48 bytes. */
  readonly mrOwnerConfig: Uint8Array
  /** Run-time measurement registers 0 to 3, 48 bytes each. */
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  /** What the TD chose to have reported, 64 bytes. */
  readonly reportData: Uint8Array
}

/** TD report 1.0. */
export interface TdReport10 extends TdReportFields {
  readonly version: '1.0'
}

/** TD report 1.5. */
export interface TdReport15 extends TdReportFields {
  readonly version: '1.5'
  /** Security versions of the TDX module that runs now, 16 bytes. */
  readonly teeTcbSvn2: Uint8Array
  /** Measurement of the service TD that is bound, 48 bytes; zero when none is. */
  readonly mrServiceTd: Uint8Array
}

/** What the TDX module reports about a TD. */
export type TdReport = TdReport10 | TdReport15

/**
 * Reads a TD report.
 * @param bytes - {@link TD_REPORT_1_0_SIZE} or {@link TD_REPORT_1_5_SIZE} bytes.
 * @throws QuoteFormatError `LENGTH` for another size.
 */
export function parseTdReport(version: TdReport['version'], bytes: Uint8Array): TdReport {
  const size = version === '1.0' ? TD_REPORT_1_0_SIZE : TD_REPORT_1_5_SIZE
  if (bytes.length !== size) {
    throw new QuoteFormatError(
      'LENGTH',
      `TD report ${version} has ${size} bytes, saw ${bytes.length}`,
    )
  }
  const reader = new Reader(bytes)
  const fields = readFields(reader)
  switch (version) {
    case '1.0':
      return { version, ...fields }
    case '1.5':
      return {
        version,
        ...fields,
        teeTcbSvn2: reader.bytes('TEE_TCB_SVN_2', 16),
        mrServiceTd: reader.bytes('MRSERVICETD', 48),
      }
  }
}

function readFields(reader: Reader): TdReportFields {
  // Object members are evaluated in the order written, which is the order of the fields.
  return {
    teeTcbSvn: reader.bytes('TEE_TCB_SVN', 16),
    mrSeam: reader.bytes('MRSEAM', 48),
    mrSignerSeam: reader.bytes('MRSIGNERSEAM', 48),
    seamAttributes: reader.bytes('SEAMATTRIBUTES', 8),
    tdAttributes: reader.u64('TDATTRIBUTES'),
    xfam: reader.u64('XFAM'),
    mrTd: reader.bytes('MRTD', 48),
    mrConfigId: reader.bytes('MRCONFIGID', 48),
    mrOwner: reader.bytes('MROWNER', 48),
    mrOwnerConfig: reader.bytes('MROWNERCONFIG', 48),
    rtmrs: [
      reader.bytes('RTMR0', 48),
      reader.bytes('RTMR1', 48),
      reader.bytes('RTMR2', 48),
      reader.bytes('RTMR3', 48),
    ],
    reportData: reader.bytes('REPORTDATA', 64),
  }
}

/**
 * Writes a TD report; the inverse of {@link parseTdReport}.
 * @throws QuoteFormatError `LENGTH` when a field does not fit its place.
 */
export function encodeTdReport(report: TdReport): Uint8Array {
  const writer = new Writer()
    .bytes('TEE_TCB_SVN', report.teeTcbSvn, 16)
    .bytes('MRSEAM', report.mrSeam, 48)
    .bytes('MRSIGNERSEAM', report.mrSignerSeam, 48)
    .bytes('SEAMATTRIBUTES', report.seamAttributes, 8)
    .u64('TDATTRIBUTES', report.tdAttributes)
    .u64('XFAM', report.xfam)
    .bytes('MRTD', report.mrTd, 48)
    .bytes('MRCONFIGID', report.mrConfigId, 48)
    .bytes('MROWNER', report.mrOwner, 48)
    .bytes('MROWNERCONFIG', report.mrOwnerConfig, 48)
  for (const [index, rtmr] of report.rtmrs.entries()) writer.bytes(`RTMR${index}`, rtmr, 48)
  writer.bytes('REPORTDATA', report.reportData, 64)
  if (report.version === '1.5') {
    writer
      .bytes('TEE_TCB_SVN_2', report.teeTcbSvn2, 16)
      .bytes('MRSERVICETD', report.mrServiceTd, 48)
  }
  return writer.finish()
}
