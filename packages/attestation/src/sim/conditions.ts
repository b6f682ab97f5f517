import type { PartTcbStatus, PublishedTcbStatus } from '../collateral/tcb-status.ts'

/** Certificates of a simulated platform that its collateral can revoke. */
export const SIM_REVOCABLES = ['pck', 'platformCa', 'tcbSigning'] as const

/** A certificate of a simulated platform that its collateral can revoke. */
export type SimRevocable = (typeof SIM_REVOCABLES)[number]

/** Documents of a simulated platform's collateral that can be expired when issued. */
export const SIM_EXPIRABLES = ['tcbInfo', 'qeIdentity', 'rootCaCrl', 'pckCrl'] as const

/** A document of a simulated platform's collateral that can be expired when issued. */
export type SimExpirable = (typeof SIM_EXPIRABLES)[number]

/** How a simulated platform's TCB info is written; what is left out is as the vendor's is today. */
export interface SimTcbInfoForm {
  /** 3 unless told; 2, which old caches still serve, has no advisories. */
  readonly version?: 2 | 3
  /** 6 bytes: the line of processors it is about, the platform's own unless told. */
  readonly fmspc?: Uint8Array
}

/** How a simulated platform stands. Its keys and certificates do not depend on it. */
export interface SimConditions {
  /** Status of the TCB level the platform matches; `NotSupported`: it matches none. */
  readonly tcbStatus: PublishedTcbStatus | 'NotSupported'
  /** Status of the level the quoting enclave matches; `NotSupported`: it matches none. */
  readonly qeTcbStatus: PartTcbStatus | 'NotSupported'
  /** Advisories of the platform's TCB level. */
  readonly advisoryIds: readonly string[]
  /** Date of the platform's and the quoting enclave's level, of whole seconds. */
  readonly tcbDate: Date
  /** Number that TCB info and QE identity bear. */
  readonly tcbEvaluationDataNumber: number
  /** Certificates that the revocation lists name. */
  readonly revoked: readonly SimRevocable[]
  /** Documents that are 30 days past their end at the instant they are asked for. */
  readonly expired: readonly SimExpirable[]
  /** Whether quotes come from a quoting enclave other than the one QE identity describes. */
  readonly wrongQe: boolean
}
