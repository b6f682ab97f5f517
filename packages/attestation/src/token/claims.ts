import type { PolicyDigest } from '../appraisal/policy.ts'
import type { Brand } from '../brand.ts'
import type { TcbStatus } from '../collateral/tcb-status.ts'
import type { Tee } from '../tee.ts'
import type { Workload } from '../workload.ts'

/**
 * How the platform stands. AMD publishes no levels: of SEV-SNP it is said that the platform meets what
 * the appraisal policy demands, which names the lowest versions itself.
 */
export type TokenTcbStatus = TcbStatus | 'MeetsAppraisal'

/** What a token tells of the one platform; version 1 tells nothing. */
export interface PlatformFacts {
  /** PPID, or the chip id of SEV-SNP, unless that is masked. */
  readonly id?: Uint8Array
  /** Of SGX and TDX: the oldest of the platform and its quoting enclave. */
  readonly tcbDate?: Date
  /** Of SGX and TDX: the lower of TCB info and QE identity that the platform was judged by. */
  readonly tcbEvaluationDataNumber?: number
}

/** What a token says. */
export interface TokenClaims {
  readonly version: 1 | 2
  readonly kmsId: string
  readonly tokenId: string
  readonly issuedAt: Date
  readonly expiresAt: Date
  readonly challenge: Uint8Array
  /** SubjectPublicKeyInfo (DER) of the instance's signing key; the token is worth nothing to others. */
  readonly instanceKey: Uint8Array
  readonly tee: Tee
  /** What {@link workloadMeasurement} makes of {@link workload}, 32 bytes. */
  readonly measurement: Uint8Array
  readonly workload: Workload
  readonly platform: PlatformFacts
  readonly debug: boolean
  readonly tcbStatus: TokenTcbStatus
  readonly advisoryIds: readonly string[]
  readonly policyDigest: PolicyDigest
  /** 32 bytes. */
  readonly jobDigest: Uint8Array
}

/** Claims of a token whose signature and times were checked. Only {@link verifyToken} makes one. */
export type VerifiedToken = Brand<TokenClaims, 'VerifiedToken'>
