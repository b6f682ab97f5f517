import type { TcbStatus } from '@cloister/attestation'
import { PolicyError } from './errors.ts'

const HEX_32_BYTES = /^[0-9a-f]{64}$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Kinds of TEE that a policy can name. */
const TEES = ['sgx', 'tdx', 'sev-snp', 'sim'] as const

/** TCB statuses that a policy can name: all but `Revoked`, under which nothing is ever released. */
const TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
] as const satisfies readonly Exclude<TcbStatus, 'Revoked'>[]

/** A TEE that a policy names. */
type PolicyTee = (typeof TEES)[number]

/** A TCB status that a policy names. */
type PolicyTcbStatus = (typeof TCB_STATUSES)[number]

/** Which jobs a policy is for. `any` gives the image's owner whatever the image can be told to do. */
type PolicyJob = { readonly kind: 'digest'; readonly jobDigest: string } | { readonly kind: 'any' }

/** What a release policy is written from. There is no field that admits debug enclaves. */
export interface ReleaseTemplate {
  /** The CMK, a UUID. */
  readonly keyId: string
  /** The one enclave image, 64 lower-case hexadecimal digits. */
  readonly measurement: string
  readonly job: PolicyJob
  /** At least one. */
  readonly tees: readonly PolicyTee[]
  /** At least one. */
  readonly tcbStatuses: readonly PolicyTcbStatus[]
}

/** A template as it comes from outside; {@link parseReleaseTemplate} checks every member. */
export interface UncheckedTemplate {
  readonly keyId: string
  readonly measurement: string
  readonly job: { readonly kind: string; readonly jobDigest?: string }
  readonly tees: readonly string[]
  readonly tcbStatuses: readonly string[]
}

const invalid = (message: string): PolicyError => new PolicyError('POLICY_INVALID', message)

function text(name: string, value: unknown, pattern: RegExp, wanted: string): string {
  if (typeof value === 'string' && pattern.test(value)) return value
  throw invalid(`${name}: wanted ${wanted}, seen ${shown(value)}`)
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : typeof value
}

function list<T extends string>(name: string, value: unknown, known: readonly T[]): readonly T[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid(`${name}: wanted at least one`)
  const items: readonly unknown[] = value
  for (const item of items) {
    if (!known.some(member => member === item)) {
      throw invalid(`${name}: wanted some of ${known.join(', ')}, seen ${shown(item)}`)
    }
  }
  // In the order above and once each, so that equal policies read the same.
  return known.filter(member => items.includes(member))
}

function members(name: string, value: unknown, wanted: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw invalid(`${name}: wanted an object`)
  const fields: Record<string, unknown> = { ...value }
  const unknown = Object.keys(fields).find(key => !wanted.includes(key))
  if (unknown !== undefined) throw invalid(`${name}: member ${shown(unknown)} is unknown`)
  return fields
}

function parseJob(value: unknown): PolicyJob {
  const { kind, jobDigest } = members('job', value, ['kind', 'jobDigest'])
  if (kind === 'any' && jobDigest === undefined) return { kind }
  if (kind !== 'digest') throw invalid(`job: wanted a digest, or any without one`)
  const wanted = '64 lower-case hexadecimal digits'
  return { kind, jobDigest: text('jobDigest', jobDigest, HEX_32_BYTES, wanted) }
}

/** Checks a template. @throws PolicyError POLICY_INVALID */
export function parseReleaseTemplate(value: unknown): ReleaseTemplate {
  const names = ['keyId', 'measurement', 'job', 'tees', 'tcbStatuses']
  const fields = members('policy', value, names)
  const hex = '64 lower-case hexadecimal digits'
  return {
    keyId: text('keyId', fields['keyId'], UUID, 'a key id'),
    measurement: text('measurement', fields['measurement'], HEX_32_BYTES, hex),
    job: parseJob(fields['job']),
    tees: list('tees', fields['tees'], TEES),
    tcbStatuses: list('tcbStatuses', fields['tcbStatuses'], TCB_STATUSES),
  }
}
