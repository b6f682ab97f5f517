import { type VerifiedToken, type Workload, workloadMeasurement } from '@cloister/attestation'
import { toHex } from '../../protocol/encoding.ts'
import type { JobStatement } from '../../protocol/job-statement.ts'
import type { ReleaseAction } from '../keys/index.ts'

/** What evidence says of what runs, by its kind. Digests are lower-case hexadecimal. */
export interface WorkloadClaims {
  readonly kind: Workload['kind']
  /** The one measurement that jobs and policies name, 64 digits. */
  readonly measurement: string
  readonly mrSigner?: string
  readonly isvProdId?: number
  readonly isvSvn?: number
  readonly mrTd?: string
  readonly rtmr0?: string
  readonly rtmr1?: string
  readonly rtmr2?: string
  readonly rtmr3?: string
  readonly mrConfigId?: string
  readonly mrOwner?: string
  readonly mrOwnerConfig?: string
  readonly mrSeam?: string
  readonly launchMeasurement?: string
  readonly hostData?: string
  readonly idKeyDigest?: string
  readonly authorKeyDigest?: string
}

/** What verified evidence says about an instance. */
export interface InstanceClaims extends WorkloadClaims {
  readonly tee: string
  readonly tcbStatus: string
  readonly debug: boolean
  readonly advisories: readonly string[]
  /** The one platform, by what its vendor calls it. */
  readonly platform?: string
  readonly tcbDate?: Date
  readonly tcbEvaluationDataNumber?: number
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

/** What policies read as `context`: all of a request but its instance, action and key. */
export function contextOf({ at, datasetId, jobDigest, jobTemplates, releases }: Asked) {
  return {
    datasetId,
    jobDigest,
    jobTemplates: [...jobTemplates],
    at: at.getTime(),
    minuteOfDay: minuteOfDay(at),
    weekday: weekday(at),
    releases: releases.ofKey,
  }
}

/** What a verified token says about its instance. */
export function claimsOf({
  advisoryIds,
  debug,
  platform,
  tcbStatus,
  tee,
  workload,
}: VerifiedToken): InstanceClaims {
  const { id, tcbDate, tcbEvaluationDataNumber } = platform
  return {
    ...workloadClaims(workload),
    tee,
    tcbStatus,
    debug,
    advisories: advisoryIds,
    ...(id === undefined ? {} : { platform: toHex(id) }),
    ...(tcbDate === undefined ? {} : { tcbDate }),
    ...(tcbEvaluationDataNumber === undefined
      ? {}
      : { tcbEvaluationDataNumber: tcbEvaluationDataNumber }),
  }
}

/** What evidence says of what runs. Digests of keys that are zero are of no key, and left out. */
export function workloadClaims(workload: Workload): WorkloadClaims {
  const measurement = toHex(workloadMeasurement(workload))
  switch (workload.kind) {
    case 'enclave': {
      const { isvProdId, isvSvn, kind, mrSigner } = workload
      return { kind, measurement, mrSigner: toHex(mrSigner), isvProdId, isvSvn }
    }
    case 'td': {
      const { kind, mrServiceTd: _serviceTd, ...registers } = workload
      const digits = Object.entries(registers).map(([name, bytes]) => [name, toHex(bytes)])
      return { kind, measurement, ...Object.fromEntries(digits) }
    }
    case 'snp': {
      const { authorKeyDigest, hostData, idKeyDigest, kind, launchMeasurement } = workload
      return {
        kind,
        measurement,
        launchMeasurement: toHex(launchMeasurement),
        hostData: toHex(hostData),
        ...(isZero(idKeyDigest) ? {} : { idKeyDigest: toHex(idKeyDigest) }),
        ...(isZero(authorKeyDigest) ? {} : { authorKeyDigest: toHex(authorKeyDigest) }),
      }
    }
  }
}

const isZero = (bytes: Uint8Array): boolean => bytes.every(byte => byte === 0)

/** Minutes since midnight, UTC. */
export function minuteOfDay(at: Date): number {
  return at.getUTCHours() * 60 + at.getUTCMinutes()
}

/** Day of the week in UTC: 1 for Monday to 7 for Sunday, as ISO 8601 counts. */
export function weekday(at: Date): number {
  return at.getUTCDay() === 0 ? 7 : at.getUTCDay()
}
