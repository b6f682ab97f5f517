import { createHash } from 'node:crypto'
import type { VerifiedEvidence } from './verify/claims.ts'

/** What identifies an enclave. Bytes: 32, 32. */
export interface EnclaveWorkload {
  readonly kind: 'enclave'
  readonly mrEnclave: Uint8Array
  readonly mrSigner: Uint8Array
  readonly isvProdId: number
  readonly isvSvn: number
}

/** What identifies a trust domain: 48 bytes each. */
export interface TdWorkload {
  readonly kind: 'td'
  readonly mrTd: Uint8Array
  readonly rtmr0: Uint8Array
  readonly rtmr1: Uint8Array
  readonly rtmr2: Uint8Array
  readonly rtmr3: Uint8Array
  readonly mrConfigId: Uint8Array
  readonly mrOwner: Uint8Array
  readonly mrOwnerConfig: Uint8Array
  /** Zero where no service TD is bound. */
  readonly mrServiceTd: Uint8Array
  /** Of the TDX module; not a part of the measurement. */
  readonly mrSeam: Uint8Array
}

/** What identifies a SEV-SNP guest. Bytes: 48, 32, 48, 48. */
export interface SnpWorkload {
  readonly kind: 'snp'
  readonly launchMeasurement: Uint8Array
  readonly hostData: Uint8Array
  /** Zero where the host launched it without an ID block. */
  readonly idKeyDigest: Uint8Array
  readonly authorKeyDigest: Uint8Array
}

/** What runs: an enclave, a trust domain or a SEV-SNP guest. */
export type Workload = EnclaveWorkload | TdWorkload | SnpWorkload

/** Names of a workload's members, by its kind; those of bytes with their number. */
export const WORKLOAD_BYTES = {
  enclave: { mrEnclave: 32, mrSigner: 32 },
  td: {
    mrTd: 48,
    rtmr0: 48,
    rtmr1: 48,
    rtmr2: 48,
    rtmr3: 48,
    mrConfigId: 48,
    mrOwner: 48,
    mrOwnerConfig: 48,
    mrServiceTd: 48,
    mrSeam: 48,
  },
  snp: { launchMeasurement: 48, hostData: 32, idKeyDigest: 48, authorKeyDigest: 48 },
} as const satisfies Record<Workload['kind'], Readonly<Record<string, number>>>

/** What verified evidence says of the workload. */
export function workloadOf(evidence: VerifiedEvidence): Workload {
  switch (evidence.kind) {
    case 'enclave': {
      const { isvProdId, isvSvn, mrEnclave, mrSigner } = evidence.report
      return { kind: 'enclave', mrEnclave, mrSigner, isvProdId, isvSvn }
    }
    case 'td': {
      const { tdReport } = evidence
      const { mrConfigId, mrOwner, mrOwnerConfig, mrSeam, mrTd } = tdReport
      const [rtmr0, rtmr1, rtmr2, rtmr3] = tdReport.rtmrs
      const mrServiceTd = tdReport.version === '1.5' ? tdReport.mrServiceTd : new Uint8Array(48)
      const registers = { mrTd, rtmr0, rtmr1, rtmr2, rtmr3 }
      const configuration = { mrConfigId, mrOwner, mrOwnerConfig, mrServiceTd }
      return { kind: 'td', ...registers, ...configuration, mrSeam }
    }
    case 'snp': {
      const { authorKeyDigest, hostData, idKeyDigest, measurement } = evidence.report
      return {
        kind: 'snp',
        launchMeasurement: measurement,
        hostData,
        idKeyDigest,
        authorKeyDigest,
      }
    }
  }
}

/**
 * The one measurement that jobs and policies name a workload by, 32 bytes: MRENCLAVE; of a guest
 * SHA-256 over all that says what runs in it and how its host configured it, each part after its
 * length as an unsigned 32-bit big-endian integer.
 * @see docs/protocols/attest-release.md, "Measurement"
 */
export function workloadMeasurement(workload: Workload): Uint8Array {
  switch (workload.kind) {
    case 'enclave':
      return workload.mrEnclave
    case 'td': {
      const { mrTd, rtmr0, rtmr1, rtmr2, rtmr3 } = workload
      const { mrConfigId, mrOwner, mrOwnerConfig, mrServiceTd } = workload
      const registers = [mrTd, rtmr0, rtmr1, rtmr2, rtmr3]
      return digestOf('cloister td measurement v1', [
        ...registers,
        ...[mrConfigId, mrOwner, mrOwnerConfig, mrServiceTd],
      ])
    }
    case 'snp': {
      const { hostData, launchMeasurement } = workload
      return digestOf('cloister snp guest measurement v1', [launchMeasurement, hostData])
    }
  }
}

function digestOf(label: string, parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of [Buffer.from(label, 'ascii'), ...parts]) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(part.length)
    hash.update(length).update(part)
  }
  return new Uint8Array(hash.digest())
}
