import type { VerifiedEvidence } from '../verify/claims.ts'
import { WORKLOAD_BYTES, type Workload } from '../workload.ts'
import type { PlatformFacts } from './claims.ts'
import {
  bytesOf,
  hex,
  integerOf,
  isObject,
  MAX_SECONDS,
  type Members,
  malformed,
  requireMembers,
} from './members.ts'

const KINDS = ['enclave', 'td', 'snp'] as const

/** A workload's members as a token has them, without its kind: bytes in hexadecimal. */
export function workloadMembers({ kind: _kind, ...members }: Workload): Members {
  return Object.fromEntries(
    Object.entries<Uint8Array | number>({ ...members }).map(([name, value]) => [
      name,
      typeof value === 'number' ? value : hex(value),
    ]),
  )
}

/** Reads the workload: version 1 has an enclave's members among its claims. @throws TokenError FORMAT */
export function readWorkload(version: 1 | 2, payload: Members): Workload {
  if (version === 1) return readMembers('enclave', payload)
  const { workload } = payload
  if (!isObject(workload)) throw malformed('workload')
  const kind = KINDS.find(known => known === workload['kind'])
  if (kind === undefined) throw malformed('kind')
  const integers = kind === 'enclave' ? ['isvProdId', 'isvSvn'] : []
  const names = ['kind', ...Object.keys(WORKLOAD_BYTES[kind]), ...integers]
  requireMembers('workload', workload, names)
  return readMembers(kind, workload)
}

function readMembers(kind: Workload['kind'], members: Members): Workload {
  const bytes = <Name extends string>(
    lengths: Readonly<Record<Name, number>>,
  ): Readonly<Record<Name, Uint8Array>> => {
    const read = Object.entries<number>(lengths).map(([name, length]) => [
      name,
      bytesOf(name, members[name], length),
    ])
    return Object.fromEntries(read) as Record<Name, Uint8Array>
  }
  switch (kind) {
    case 'enclave':
      return {
        kind,
        ...bytes(WORKLOAD_BYTES.enclave),
        isvProdId: integerOf('isvProdId', members['isvProdId'], 0xffff),
        isvSvn: integerOf('isvSvn', members['isvSvn'], 0xffff),
      }
    case 'td':
      return { kind, ...bytes(WORKLOAD_BYTES.td) }
    case 'snp':
      return { kind, ...bytes(WORKLOAD_BYTES.snp) }
  }
}

/** What evidence tells of the one platform. */
export function platformOf(evidence: VerifiedEvidence): PlatformFacts {
  if (evidence.kind === 'snp') {
    const { chipId } = evidence.report
    return chipId.every(byte => byte === 0) ? {} : { id: chipId }
  }
  const { pck, qeTcbDate, qeTcbEvaluationDataNumber, tcbDate } = evidence
  const { tcbEvaluationDataNumber: ofPlatform } = evidence
  return {
    id: pck.ppid,
    tcbDate: new Date(Math.min(qeTcbDate.getTime(), tcbDate.getTime())),
    tcbEvaluationDataNumber: Math.min(qeTcbEvaluationDataNumber, ofPlatform),
  }
}

/** The platform as a token has it; what evidence does not tell is left out. */
export function platformMembers({ id, tcbDate, tcbEvaluationDataNumber }: PlatformFacts): Members {
  return {
    ...(id === undefined ? {} : { id: hex(id) }),
    ...(tcbDate === undefined ? {} : { tcbDate: Math.floor(tcbDate.getTime() / 1000) }),
    ...(tcbEvaluationDataNumber === undefined ? {} : { tcbEvaluationDataNumber }),
  }
}

/** Reads the platform. @throws TokenError FORMAT */
export function readPlatform(value: unknown): PlatformFacts {
  if (!isObject(value)) throw malformed('platform')
  const { id, tcbDate, tcbEvaluationDataNumber: number, ...more } = value
  if (Object.keys(more).length > 0) throw malformed('platform')
  const isChip = typeof id === 'string' && id.length === 128
  return {
    ...(id === undefined ? {} : { id: bytesOf('id', id, isChip ? 64 : 16) }),
    ...(tcbDate === undefined
      ? {}
      : { tcbDate: new Date(integerOf('tcbDate', tcbDate, MAX_SECONDS) * 1000) }),
    ...(number === undefined
      ? {}
      : { tcbEvaluationDataNumber: integerOf('tcbEvaluationDataNumber', number, 0xffffffff) }),
  }
}
