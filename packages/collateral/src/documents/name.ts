import { createHash } from 'node:crypto'

/** Which of several documents about the same: the current, the newest, or a set by its number. */
export type Edition = 'standard' | 'early' | number

/** Which CA issued a PCK certificate. */
export type PckCa = 'platform' | 'processor'

/** TCB info of a line of processors. Version 3 of the interface gives the older form, for SGX. */
export interface TcbInfoName {
  readonly kind: 'tcbInfo'
  readonly tee: 'sgx' | 'tdx'
  /** 12 lower-case hexadecimal digits. */
  readonly fmspc: string
  readonly edition: Edition
  readonly api: 3 | 4
}

/** Identity of one of the vendor's enclaves. */
export interface IdentityName {
  readonly kind: 'identity'
  readonly of: 'QE' | 'TD_QE' | 'QVE' | 'QAE'
  readonly edition: Edition
}

/** All PCK certificates of a platform: told by its encrypted PPID, or by its platform manifest. */
export interface PckCertificatesName {
  readonly kind: 'pckCertificates'
  /** Of a registered platform; empty for whoever shows no more than an encrypted PPID. */
  readonly qeId: string
  /** 4 upper-case hexadecimal digits, as all that follows is upper-case hexadecimal. */
  readonly pceId: string
  /** 768 digits; empty where the manifest is given. */
  readonly encryptedPpid: string
  readonly platformManifest: string
}

/** The PCK certificate that another cache chose for a platform at a TCB. */
export interface PckCertificateName {
  readonly kind: 'pckCertificate'
  /** Whether the platform registered, at this TCB. */
  readonly isRegistered: boolean
  readonly qeId: string
  readonly pceId: string
  readonly encryptedPpid: string
  /** 32 digits. */
  readonly cpuSvn: string
  /** 4 digits, little-endian. */
  readonly pceSvn: string
}

/** Names a document that a collateral service hands out. */
export type DocumentName =
  | TcbInfoName
  | IdentityName
  | { readonly kind: 'evaluationNumbers'; readonly tee: 'sgx' | 'tdx' }
  | { readonly kind: 'pckCrl'; readonly ca: PckCa }
  | { readonly kind: 'rootCaCrl' }
  | { readonly kind: 'fmspcs'; readonly platform: FmspcPlatform }
  | PckCertificatesName
  | PckCertificateName

/** Kinds of platforms that lists of FMSPCs are made for. */
export const FMSPC_PLATFORMS = ['all', 'client', 'E3', 'E5'] as const

/** A kind of platforms that lists of FMSPCs are made for. */
export type FmspcPlatform = (typeof FMSPC_PLATFORMS)[number]

/** The root's revocation list: what all else is verified with. */
export const ROOT_CA_CRL: DocumentName = { kind: 'rootCaCrl' }

/** One short text a name: a key for caches, good as a file's name. */
export function keyOf(name: DocumentName): string {
  switch (name.kind) {
    case 'tcbInfo':
      return `tcb-info-v${name.api}-${name.tee}-${name.fmspc}-${name.edition}`
    case 'identity':
      return `identity-${name.of.toLowerCase()}-${name.edition}`
    case 'evaluationNumbers':
      return `evaluation-numbers-${name.tee}`
    case 'pckCrl':
      return `pck-crl-${name.ca}`
    case 'rootCaCrl':
      return 'root-ca-crl'
    case 'fmspcs':
      return `fmspcs-${name.platform.toLowerCase()}`
    case 'pckCertificates': {
      const { qeId, pceId, encryptedPpid, platformManifest } = name
      return `pck-certificates-${digest(qeId, pceId, encryptedPpid, platformManifest)}`
    }
    case 'pckCertificate': {
      const { isRegistered, qeId, pceId, encryptedPpid, cpuSvn, pceSvn } = name
      const who = digest(String(isRegistered), qeId, pceId, encryptedPpid, cpuSvn, pceSvn)
      return `pck-certificate-${who}`
    }
  }
}

/**
 * Whether a document is there for as long as it is asked for, and no longer: what anybody can have
 * fetched by showing something new each time must not fill the disk.
 */
export function isPassing(name: DocumentName): boolean {
  return (
    (name.kind === 'pckCertificates' && name.qeId === '') ||
    (name.kind === 'pckCertificate' && !name.isRegistered)
  )
}

/** One short text for several, none of which has a line break in it. */
export function digest(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}
