import type { SgxTcbLevel, TdxTcbLevel } from '../collateral/tcb-info.ts'
import type { PartTcbStatus, PublishedTcbStatus, TcbStatus } from '../collateral/tcb-status.ts'
import type { SnpReport } from '../sev-snp/report.ts'
import type { SnpProduct, SnpTcb } from '../sev-snp/tcb.ts'
import type { VekExtensions } from '../sev-snp/vek.ts'
import type { SgxReportBody } from '../sgx/report-body.ts'
import type { TdReport } from '../tdx/td-report.ts'
import type { Tee } from '../tee.ts'
import type { PckExtension } from '../x509/pck.ts'
import type { TcbGap } from './behind.ts'

/** When a document or list of the collateral was issued, and when the next one is due. */
export interface Issued {
  readonly issued: Date
  readonly nextUpdate: Date
}

/** What verified evidence of any kind says. */
export interface CommonClaims {
  /** Of the pinned root that verified and the signed body; no other field of the evidence says it. */
  readonly tee: Tee
  /** The instant that was judged at. */
  readonly verifiedAt: Date
  /** First instant at which a certificate, a list or a document of the input has expired. */
  readonly earliestExpiration: Date
  /** SHA-384 of the root's SubjectPublicKeyInfo, 48 bytes. */
  readonly rootKeyId: Uint8Array
}

/** What a verified quote says of its platform, whatever runs there. */
export interface PlatformClaims extends CommonClaims {
  readonly quoteVersion: 3 | 4 | 5
  readonly pck: PckExtension
  /** Platform, TDX module and quoting enclave converged. */
  readonly tcbStatus: TcbStatus
  /** Of {@link tcbLevel}. */
  readonly platformTcbStatus: PublishedTcbStatus
  /** Of the highest level that the processor's own components reach. */
  readonly sgxTcbStatus: PublishedTcbStatus
  readonly qeTcbStatus: PartTcbStatus
  /** The level matched: of a TD's quote, by its TDX components too. */
  readonly tcbLevel: SgxTcbLevel | TdxTcbLevel
  /** How far each part that is behind is so. */
  readonly behind: readonly TcbGap[]
  /** Union over platform, TDX module and quoting enclave, sorted. */
  readonly advisoryIds: readonly string[]
  readonly tcbDate: Date
  readonly qeTcbDate: Date
  readonly tcbEvaluationDataNumber: number
  readonly qeTcbEvaluationDataNumber: number
  readonly collateral: Readonly<Record<'tcbInfo' | 'qeIdentity' | 'rootCaCrl' | 'pckCrl', Issued>>
  /** When the newest document or list of the collateral was issued. */
  readonly latestIssueDate: Date
  /** First instant at which a certificate of the input has expired: no grace goes beyond it. */
  readonly certificateExpiration: Date
}

/** What a verified quote of an enclave says. */
export interface EnclaveClaims extends PlatformClaims {
  readonly kind: 'enclave'
  readonly report: SgxReportBody
}

/** The TDX module of a verified quote. */
export interface TdxModuleClaims {
  /** `TDX_` and the major version; absent for the base module, which has no levels of its own. */
  readonly id?: string
  readonly tcbStatus: PartTcbStatus
  readonly tcbDate?: Date
}

/** What a verified quote of a trust domain says. */
export interface TdClaims extends PlatformClaims {
  readonly kind: 'td'
  readonly tdReport: TdReport
  readonly tdxModule: TdxModuleClaims
}

/** What a verified report of a SEV-SNP guest says, and how its platform stands. */
export interface SnpClaims extends CommonClaims {
  readonly kind: 'snp'
  readonly report: SnpReport
  readonly product: SnpProduct
  /** The report's TCB versions, read as the product's. AMD publishes no levels to compare with. */
  readonly tcb: Readonly<Record<'current' | 'reported' | 'committed' | 'launch', SnpTcb>>
  /** The certificate of the key that signed. */
  readonly vek: VekExtensions
  /** Whether a revocation list was looked at; when it was issued, and the next is due. */
  readonly revocation: { readonly checked: false } | ({ readonly checked: true } & Issued)
}

/** What a verified quote of an enclave or a trust domain says. */
export type QuoteClaims = EnclaveClaims | TdClaims

/** What verified evidence says, and how its platform stands. Policy is not part of it. */
export type EvidenceClaims = QuoteClaims | SnpClaims

declare const brand: unique symbol

/** Claims of evidence whose every signature was checked. Only `verifyEvidence` makes them. */
export type Verified<Claims extends EvidenceClaims> = Claims & {
  readonly [brand]: 'VerifiedEvidence'
}

/** Verified claims of any kind. */
export type VerifiedEvidence = Verified<EvidenceClaims>

/**
 * What was measured when the workload started: MRENCLAVE (32 bytes), MRTD or a SEV-SNP guest's
 * MEASUREMENT (48 bytes).
 */
export function measurementOf(claims: EvidenceClaims): Uint8Array {
  switch (claims.kind) {
    case 'enclave':
      return claims.report.mrEnclave
    case 'td':
      return claims.tdReport.mrTd
    case 'snp':
      return claims.report.measurement
  }
}

/** What the workload chose to have reported, 64 bytes. */
export function reportDataOf(claims: EvidenceClaims): Uint8Array {
  switch (claims.kind) {
    case 'enclave':
      return claims.report.reportData
    case 'td':
      return claims.tdReport.reportData
    case 'snp':
      return claims.report.reportData
  }
}
