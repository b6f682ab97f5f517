import { CollateralError } from '@cloister/attestation'
import { digest, type PckCertificatesName } from '../documents/name.ts'
import { isHex } from '../hex.ts'
import type { RawTcb } from './select-pck.ts'

/** A platform as it registers, and as lists of platforms have it. All digits are upper-case. */
export interface Registration {
  /** Up to 260 characters; of Intel's quoting enclaves 32 digits. */
  readonly qe_id: string
  /** 4 digits. */
  readonly pce_id: string
  /** 32 digits, or empty. */
  readonly cpu_svn: string
  /** 4 digits, or empty. */
  readonly pce_svn: string
  /** 768 digits, or empty. */
  readonly enc_ppid: string
  /** Hexadecimal digits, of platforms with several processors; or empty. */
  readonly platform_manifest: string
}

/** A registered platform. */
export interface PlatformRecord {
  readonly qeId: string
  readonly pceId: string
  readonly encryptedPpid: string
  readonly platformManifest: string
  /** TCBs it was seen at. */
  readonly tcbs: readonly RawTcb[]
  /** 12 upper-case digits, once its certificates came. */
  readonly fmspc: string
  /** 32 upper-case digits, once its certificates came. What others say of it has to fit. */
  readonly ppid: string
}

const MOST_TCBS = 16
const MAX_MANIFEST = 64 * 1024

/**
 * Reads a registration: with a platform manifest, or with an encrypted PPID and a TCB.
 * @throws CollateralError FORMAT
 * @see Intel PCCS, `POST /platforms`
 */
export function readRegistration(value: unknown): Registration {
  const listed = readListedPlatform(value)
  if (listed.platform_manifest !== '') {
    // The manifest says it all.
    return { ...listed, cpu_svn: '', pce_svn: '', enc_ppid: '' }
  }
  if (listed.cpu_svn === '' || listed.pce_svn === '' || listed.enc_ppid === '') {
    throw new CollateralError(
      'FORMAT',
      'wanted a platform_manifest, or cpu_svn, pce_svn and enc_ppid',
    )
  }
  return listed
}

/**
 * Reads a platform as lists have it; its TCB may be missing.
 * @throws CollateralError FORMAT
 * @see Intel PCCS administration tool, `platform_list.json`
 */
export function readListedPlatform(value: unknown): Registration {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CollateralError('FORMAT', 'wanted an object for a platform')
  }
  const members: Readonly<Record<string, unknown>> = { ...value }
  const text = (name: keyof Registration, pattern: RegExp) => {
    const member = members[name] ?? ''
    if (typeof member !== 'string' || !pattern.test(member)) {
      throw new CollateralError('FORMAT', `${name}: wanted ${pattern.source}`)
    }
    return member.toUpperCase()
  }
  const manifest = text('platform_manifest', /^[0-9a-fA-F]*$/)
  if (!isHex(manifest) || manifest.length > MAX_MANIFEST) {
    throw new CollateralError('FORMAT', 'platform_manifest: wanted at most 32 KiB in digits')
  }
  return {
    qe_id: text('qe_id', QE_ID),
    pce_id: text('pce_id', /^[0-9a-fA-F]{4}$/),
    cpu_svn: text('cpu_svn', /^([0-9a-fA-F]{32})?$/),
    pce_svn: text('pce_svn', /^([0-9a-fA-F]{4})?$/),
    enc_ppid: text('enc_ppid', /^([0-9a-fA-F]{768})?$/),
    platform_manifest: manifest,
  }
}

/** What a QE id may be: Intel's have 32 digits, other clouds' machines other names. */
export const QE_ID: RegExp = /^[0-9A-Za-z_-]{1,260}$/

/** One key a platform. */
export function platformKey(qeId: string, pceId: string): string {
  return digest(qeId, pceId)
}

/** One key an entry of a queue. */
export function registrationKey(one: Registration): string {
  const { qe_id, pce_id, cpu_svn, pce_svn, enc_ppid, platform_manifest } = one
  // An encrypted PPID is another each time; it does not make another platform.
  const how = platform_manifest === '' ? enc_ppid === '' : platform_manifest
  return digest(qe_id, pce_id, cpu_svn, pce_svn, String(how))
}

/** The name of a registered platform's certificates. */
export function certificatesOf(
  one: Pick<PlatformRecord, 'qeId' | 'pceId' | 'encryptedPpid' | 'platformManifest'>,
): PckCertificatesName {
  const { qeId, pceId, encryptedPpid, platformManifest } = one
  return { kind: 'pckCertificates', qeId, pceId, encryptedPpid, platformManifest }
}

/** A record with one more TCB in it, or the same where it is known or too many are. */
export function withTcb<R extends Pick<PlatformRecord, 'tcbs'>>(record: R, tcb: RawTcb): R {
  const isKnown = record.tcbs.some(one => one.cpuSvn === tcb.cpuSvn && one.pceSvn === tcb.pceSvn)
  if (isKnown || tcb.cpuSvn === '' || tcb.pceSvn === '' || record.tcbs.length >= MOST_TCBS) {
    return record
  }
  return { ...record, tcbs: [...record.tcbs, tcb] }
}

/** A record as lists of platforms have it: a row for each TCB. */
export function listed(record: PlatformRecord): readonly Registration[] {
  const { qeId, pceId, encryptedPpid, platformManifest } = record
  const none: RawTcb = { cpuSvn: '', pceSvn: '' }
  return (record.tcbs.length === 0 ? [none] : record.tcbs).map(({ cpuSvn, pceSvn }) => ({
    ...{ qe_id: qeId, pce_id: pceId, cpu_svn: cpuSvn, pce_svn: pceSvn },
    ...{ enc_ppid: encryptedPpid, platform_manifest: platformManifest },
  }))
}
