import type { VerifiedToken } from '@cloister/attestation'
import type { JobStatement } from '../../protocol/job-statement.ts'
import type { ReleaseAction } from '../keys/index.ts'

/** What verified evidence says about an instance. Digests are lower-case hexadecimal. */
export interface InstanceClaims {
  readonly kind: 'enclave'
  readonly tee: string
  readonly measurement: string
  readonly tcbStatus: string
  readonly debug: boolean
  readonly advisories: readonly string[]
  readonly mrSigner?: string
  readonly isvProdId?: number
  readonly isvSvn?: number
  /** The one platform, by what its vendor calls it. */
  readonly platform?: string
  readonly tcbDate?: Date
  readonly tcbEvaluationNumber?: number
}

/** What an instance asks to do with a key. */
export interface ReleaseRequest {
  readonly action: ReleaseAction
  readonly principal: InstanceClaims
  readonly keyId: string
  readonly datasetId: string
  /** 64 lower-case hexadecimal digits. */
  readonly jobDigest: string
  /** The job that the digest is of; without it no job template matches. */
  readonly job: JobStatement | undefined
  readonly at: Date
}

/** What was released before. */
export interface Releases {
  /** Under the key, by whichever policy. */
  readonly ofKey: number
  /** By policy id; 0 where there is none. */
  readonly ofPolicy: ReadonlyMap<string, number>
}

/** A request with all that policies are evaluated on. */
export interface Asked extends ReleaseRequest {
  /** Digests of the job templates that the job is one of. */
  readonly jobTemplates: ReadonlySet<string>
  readonly releases: Releases
}

/** What a verified token says about its instance. */
export function claimsOf(token: VerifiedToken): InstanceClaims {
  return {
    kind: 'enclave',
    tee: token.tee,
    measurement: Buffer.from(token.mrEnclave).toString('hex'),
    tcbStatus: token.tcbStatus,
    debug: token.debug,
    advisories: token.advisoryIds,
    mrSigner: Buffer.from(token.mrSigner).toString('hex'),
    isvProdId: token.isvProdId,
    isvSvn: token.isvSvn,
  }
}

/** Minutes since midnight, UTC. */
export function minuteOfDay(at: Date): number {
  return at.getUTCHours() * 60 + at.getUTCMinutes()
}

/** Day of the week in UTC: 1 for Monday to 7 for Sunday, as ISO 8601 counts. */
export function weekday(at: Date): number {
  return at.getUTCDay() === 0 ? 7 : at.getUTCDay()
}
