import { Reader } from '../bytes/reader.ts'
import { Writer } from '../bytes/writer.ts'
import { QuoteFormatError } from '../errors.ts'

/** Size of an attestation report in bytes. */
export const SNP_REPORT_SIZE = 1184

/** How many bytes of a report are signed: all that stands before the signature. */
export const SNP_SIGNED_SIZE = 0x2a0

/** Versions of the report that are read. 4 was never published. */
export const SNP_REPORT_VERSIONS = [2, 3, 5] as const

/** Bits of a guest's policy. */
export const SNP_POLICY = {
  smt: 1n << 16n,
  reserved1: 1n << 17n,
  migrateMa: 1n << 18n,
  debug: 1n << 19n,
  singleSocket: 1n << 20n,
  cxlAllow: 1n << 21n,
  memAes256Xts: 1n << 22n,
  raplDis: 1n << 23n,
  ciphertextHiding: 1n << 24n,
  pageSwapDisable: 1n << 25n,
} as const

/** Bits of PLATFORM_INFO. */
export const SNP_PLATFORM = {
  smtEnabled: 1n << 0n,
  tsmeEnabled: 1n << 1n,
  eccEnabled: 1n << 2n,
  raplDisabled: 1n << 3n,
  ciphertextHidingEnabled: 1n << 4n,
  aliasCheckComplete: 1n << 5n,
  tioEnabled: 1n << 7n,
} as const

/** VMPL of a report that the host asked for, not the guest. */
export const SNP_HOST_REQUESTED = 0xffffffff

const ECDSA_P384_SHA384 = 1
const SIGNING_KEYS = ['VCEK', 'VLEK'] as const
const POLICY_BITS = (1n << 26n) - 1n
const COMPONENT = 72
const SCALAR = 48

/** Firmware version: major, minor, build. */
export interface SnpFirmware {
  readonly major: number
  readonly minor: number
  readonly build: number
}

/** CPUID of the processor, which reports bear from version 3 on. */
export interface SnpCpuid {
  readonly family: number
  readonly model: number
  readonly stepping: number
}

/**
 * An attestation report of a SEV-SNP guest. Byte fields are views of the parsed input; TCB versions
 * are as they stand, see `parseSnpTcb`.
 * @see AMD SEV-SNP Firmware ABI Specification (56860), ATTESTATION_REPORT
 */
export interface SnpReport {
  readonly version: (typeof SNP_REPORT_VERSIONS)[number]
  readonly guestSvn: number
  /** See {@link SNP_POLICY}; bits 0 to 7 the ABI's minor and 8 to 15 its major version. */
  readonly policy: bigint
  /** 16 bytes. */
  readonly familyId: Uint8Array
  /** 16 bytes. */
  readonly imageId: Uint8Array
  /** 0 to 3, or {@link SNP_HOST_REQUESTED}. */
  readonly vmpl: number
  /** 8 bytes. */
  readonly currentTcb: Uint8Array
  /** See {@link SNP_PLATFORM}. */
  readonly platformInfo: bigint
  readonly authorKeyEnabled: boolean
  /** Set, the firmware signs nothing: such a report never verifies. */
  readonly maskChipKey: boolean
  readonly signingKey: (typeof SIGNING_KEYS)[number]
  /** What the guest chose to have reported, 64 bytes. */
  readonly reportData: Uint8Array
  /** Measurement of the guest at launch, 48 bytes. */
  readonly measurement: Uint8Array
  /** What the host gave at launch, 32 bytes. */
  readonly hostData: Uint8Array
  /** 48 bytes. */
  readonly idKeyDigest: Uint8Array
  /** 48 bytes. */
  readonly authorKeyDigest: Uint8Array
  /** 32 bytes. */
  readonly reportId: Uint8Array
  /** Of the migration agent, 32 bytes. */
  readonly reportIdMa: Uint8Array
  /** 8 bytes: the TCB that the signing key is derived from. */
  readonly reportedTcb: Uint8Array
  /** Only from version 3 on. */
  readonly cpuid?: SnpCpuid
  /** 64 bytes; zero where the host masks it (MASK_CHIP_ID). */
  readonly chipId: Uint8Array
  /** 8 bytes: below this the firmware can not be taken back. */
  readonly committedTcb: Uint8Array
  readonly currentFirmware: SnpFirmware
  readonly committedFirmware: SnpFirmware
  /** 8 bytes: the TCB at launch. */
  readonly launchTcb: Uint8Array
  /** Mitigations in force, at launch and now; only from version 5 on. */
  readonly mitigations?: { readonly launch: bigint; readonly current: bigint }
  /** r then s, big-endian, 48 bytes each. */
  readonly signature: Uint8Array
}

/**
 * Whether evidence is a SEV-SNP report: a quote's first four bytes hold a key type too. One of a
 * report's size may be of a version that nobody here reads, which {@link parseSnpReport} says.
 */
export function isSnpReport(evidence: Uint8Array): boolean {
  if (evidence.length < 4) return false
  const first = new DataView(evidence.buffer, evidence.byteOffset, 4).getUint32(0, true)
  if (SNP_REPORT_VERSIONS.some(version => version === first)) return true
  return evidence.length === SNP_REPORT_SIZE && first > 0 && first < 0x1_0000
}

/** Requires bytes to be as many as a report has. @throws QuoteFormatError TRUNCATED, LENGTH */
export function requireReportSize({ length }: Uint8Array): void {
  if (length === SNP_REPORT_SIZE) return
  throw new QuoteFormatError(
    length < SNP_REPORT_SIZE ? 'TRUNCATED' : 'LENGTH',
    `a SEV-SNP report has ${SNP_REPORT_SIZE} bytes, saw ${length}`,
  )
}

/**
 * Reads a report, strictly: exactly its size, reserved bytes zero, fields that only later versions
 * have zero in earlier ones.
 * @throws QuoteFormatError
 */
export function parseSnpReport(bytes: Uint8Array): SnpReport {
  requireReportSize(bytes)
  const reader = new Reader(bytes)
  const version = readVersion(reader.u32('VERSION'))
  const guestSvn = reader.u32('GUEST_SVN')
  const policy = reader.u64('POLICY')
  if ((policy & ~POLICY_BITS) !== 0n || (policy & SNP_POLICY.reserved1) === 0n) {
    throw new QuoteFormatError('RESERVED', `guest policy 0x${policy.toString(16)} is none`)
  }
  const familyId = reader.bytes('FAMILY_ID', 16)
  const imageId = reader.bytes('IMAGE_ID', 16)
  const vmpl = reader.u32('VMPL')
  if (vmpl > 3 && vmpl !== SNP_HOST_REQUESTED) {
    throw new QuoteFormatError('RESERVED', `VMPL ${vmpl} is none of 0 to 3`)
  }
  const algorithm = reader.u32('SIGNATURE_ALGO')
  if (algorithm !== ECDSA_P384_SHA384) {
    throw new QuoteFormatError(
      'KEY_TYPE',
      `signature algorithm: wanted ${ECDSA_P384_SHA384} (ECDSA P-384), saw ${algorithm}`,
    )
  }
  const currentTcb = reader.bytes('CURRENT_TCB', 8)
  const platformInfo = reader.u64('PLATFORM_INFO')
  const flags = readFlags(reader.u32('FLAGS'))
  zeros(reader, 4)
  const reportData = reader.bytes('REPORT_DATA', 64)
  const measurement = reader.bytes('MEASUREMENT', 48)
  const hostData = reader.bytes('HOST_DATA', 32)
  const idKeyDigest = reader.bytes('ID_KEY_DIGEST', 48)
  const authorKeyDigest = reader.bytes('AUTHOR_KEY_DIGEST', 48)
  const reportId = reader.bytes('REPORT_ID', 32)
  const reportIdMa = reader.bytes('REPORT_ID_MA', 32)
  const reportedTcb = reader.bytes('REPORTED_TCB', 8)
  const cpuid = readCpuid(reader, version)
  const chipId = reader.bytes('CHIP_ID', 64)
  const committedTcb = reader.bytes('COMMITTED_TCB', 8)
  const currentFirmware = readFirmware(reader)
  const committedFirmware = readFirmware(reader)
  const launchTcb = reader.bytes('LAUNCH_TCB', 8)
  const mitigations = readMitigations(reader, version)
  zeros(reader, SNP_SIGNED_SIZE - reader.position)
  const signature = readSignature(reader)
  return {
    ...{ version, guestSvn, policy, familyId, imageId, vmpl, currentTcb, platformInfo, ...flags },
    ...{ reportData, measurement, hostData, idKeyDigest, authorKeyDigest, reportId, reportIdMa },
    ...{ reportedTcb, ...(cpuid === undefined ? {} : { cpuid }), chipId, committedTcb },
    ...{ currentFirmware, committedFirmware, launchTcb },
    ...(mitigations === undefined ? {} : { mitigations }),
    signature,
  }
}

/**
 * Writes a report; the inverse of {@link parseSnpReport}.
 * @throws QuoteFormatError LENGTH when a field does not fit its place
 */
export function encodeSnpReport(report: SnpReport): Uint8Array {
  const bytes = new Uint8Array(SNP_REPORT_SIZE)
  bytes.set(encodeSnpSignedPart(report))
  bytes.set(encodeSignature(report.signature), SNP_SIGNED_SIZE)
  return bytes
}

/** Writes what the signature of a report is over. @throws QuoteFormatError LENGTH */
export function encodeSnpSignedPart(report: Omit<SnpReport, 'signature'>): Uint8Array {
  const { cpuid, mitigations } = report
  const flags =
    (report.authorKeyEnabled ? 1 : 0) |
    (report.maskChipKey ? 2 : 0) |
    (SIGNING_KEYS.indexOf(report.signingKey) << 2)
  const writer = new Writer()
    .u32('VERSION', report.version)
    .u32('GUEST_SVN', report.guestSvn)
    .u64('POLICY', report.policy)
    .bytes('FAMILY_ID', report.familyId, 16)
    .bytes('IMAGE_ID', report.imageId, 16)
    .u32('VMPL', report.vmpl)
    .u32('SIGNATURE_ALGO', ECDSA_P384_SHA384)
    .bytes('CURRENT_TCB', report.currentTcb, 8)
    .u64('PLATFORM_INFO', report.platformInfo)
    .u32('FLAGS', flags)
    .u32('reserved', 0)
    .bytes('REPORT_DATA', report.reportData, 64)
    .bytes('MEASUREMENT', report.measurement, 48)
    .bytes('HOST_DATA', report.hostData, 32)
    .bytes('ID_KEY_DIGEST', report.idKeyDigest, 48)
    .bytes('AUTHOR_KEY_DIGEST', report.authorKeyDigest, 48)
    .bytes('REPORT_ID', report.reportId, 32)
    .bytes('REPORT_ID_MA', report.reportIdMa, 32)
    .bytes('REPORTED_TCB', report.reportedTcb, 8)
    .bytes('CPUID', cpuidBytes(cpuid), 24)
    .bytes('CHIP_ID', report.chipId, 64)
    .bytes('COMMITTED_TCB', report.committedTcb, 8)
    .bytes('CURRENT_VERSION', firmwareBytes(report.currentFirmware), 4)
    .bytes('COMMITTED_VERSION', firmwareBytes(report.committedFirmware), 4)
    .bytes('LAUNCH_TCB', report.launchTcb, 8)
    .u64('LAUNCH_MIT_VECTOR', mitigations?.launch ?? 0n)
    .u64('CURRENT_MIT_VECTOR', mitigations?.current ?? 0n)
  return writer
    .bytes(
      'reserved',
      new Uint8Array(SNP_SIGNED_SIZE - writer.length),
      SNP_SIGNED_SIZE - writer.length,
    )
    .finish()
}

function readVersion(version: number): SnpReport['version'] {
  const known = SNP_REPORT_VERSIONS.find(one => one === version)
  if (known === undefined) {
    throw new QuoteFormatError('VERSION', `report version: wanted 2, 3 or 5, saw ${version}`)
  }
  return known
}

function readFlags(
  flags: number,
): Pick<SnpReport, 'authorKeyEnabled' | 'maskChipKey' | 'signingKey'> {
  const signingKey = SIGNING_KEYS[flags >>> 2]
  if (signingKey === undefined) {
    throw new QuoteFormatError(
      'KEY_TYPE',
      `signing key: wanted VCEK (0) or VLEK (1), saw flags 0x${flags.toString(16)}`,
    )
  }
  return { authorKeyEnabled: (flags & 1) !== 0, maskChipKey: (flags & 2) !== 0, signingKey }
}

function readCpuid(reader: Reader, version: SnpReport['version']): SnpCpuid | undefined {
  if (version < 3) {
    zeros(reader, 24)
    return undefined
  }
  const [family = 0, model = 0, stepping = 0] = reader.bytes('CPUID', 3)
  zeros(reader, 21)
  return { family, model, stepping }
}

function cpuidBytes(cpuid: SnpCpuid | undefined): Uint8Array {
  const bytes = new Uint8Array(24)
  if (cpuid !== undefined) bytes.set([cpuid.family, cpuid.model, cpuid.stepping])
  return bytes
}

function readFirmware(reader: Reader): SnpFirmware {
  const [build = 0, minor = 0, major = 0] = reader.bytes('firmware version', 3)
  zeros(reader, 1)
  return { major, minor, build }
}

function firmwareBytes({ build, minor, major }: SnpFirmware): Uint8Array {
  return Uint8Array.of(build, minor, major, 0)
}

function readMitigations(reader: Reader, version: SnpReport['version']): SnpReport['mitigations'] {
  if (version < 5) return undefined
  return { launch: reader.u64('LAUNCH_MIT_VECTOR'), current: reader.u64('CURRENT_MIT_VECTOR') }
}

/** r and s, little-endian in 72 bytes each, as big-endian scalars of P-384. */
function readSignature(reader: Reader): Uint8Array {
  const signature = new Uint8Array(2 * SCALAR)
  for (const index of [0, 1]) {
    signature.set(reader.bytes('SIGNATURE', SCALAR).slice().reverse(), index * SCALAR)
    zeros(reader, COMPONENT - SCALAR)
  }
  zeros(reader, reader.remaining)
  return signature
}

function encodeSignature(signature: Uint8Array): Uint8Array {
  if (signature.length !== 2 * SCALAR) {
    throw new QuoteFormatError('LENGTH', `a signature has ${2 * SCALAR} bytes`)
  }
  const bytes = new Uint8Array(SNP_REPORT_SIZE - SNP_SIGNED_SIZE)
  for (const index of [0, 1]) {
    const scalar = signature.slice(index * SCALAR, (index + 1) * SCALAR).reverse()
    bytes.set(scalar, index * COMPONENT)
  }
  return bytes
}

function zeros(reader: Reader, length: number): void {
  const { offset } = reader
  if (reader.bytes('reserved', length).some(byte => byte !== 0)) {
    throw new QuoteFormatError('RESERVED', `reserved bytes at offset ${offset} are not zero`)
  }
}
