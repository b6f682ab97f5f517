import { createHash } from 'node:crypto'
import { PccsError } from './pccs-error.ts'

/** An appraisal policy for quote verifiers. The service hands it out and does not apply it. */
export interface StoredPolicy {
  /** SHA-384 of the policy, in hexadecimal digits. */
  readonly id: string
  /** 12 upper-case digits. */
  readonly fmspc: string
  /** A JWT, as it came. Its signature is for whoever applies it to verify. */
  readonly policy: string
  readonly isDefault: boolean
  readonly type: PolicyType
}

/** What kind of platform a policy is about. */
type PolicyType = 'sgx' | 'tdx-1.0' | 'tdx-1.5'

const MOST_CHARACTERS = 256 * 1024

/** @see Intel SGX/TDX quote appraisal, class ids of policies */
const TYPES: Readonly<Record<string, PolicyType>> = {
  '3123ec35-8d38-4ea5-87a5-d6c48b567570': 'sgx',
  '9eec018b-7481-4b1c-8e1a-9f7c0c8c777f': 'tdx-1.0',
  'f708b97f-0fb2-4e6b-8b03-8a5bcd1221d3': 'tdx-1.5',
}

/** Class of policies about the quoting enclave of TDX, which stand beside one of the others. */
const TD_QE_CLASS = '3769258c-75e6-4bc7-8d72-d2b0e224cad2'

/**
 * Reads what `PUT /appraisalpolicy` brings.
 * @throws PccsError INVALID_REQUEST
 */
export function readPolicy(value: unknown): StoredPolicy {
  const {
    policy,
    fmspc,
    is_default: isDefault,
  }: Readonly<Record<string, unknown>> = {
    ...(typeof value === 'object' ? value : {}),
  }
  if (typeof policy !== 'string' || policy.length > MOST_CHARACTERS || !JWT.test(policy)) {
    throw invalid('policy: wanted a JWT of at most 256 Ki characters')
  }
  if (typeof fmspc !== 'string' || !/^[0-9a-fA-F]{12}$/.test(fmspc)) {
    throw invalid('fmspc: wanted 12 hexadecimal digits')
  }
  if (typeof isDefault !== 'boolean') throw invalid('is_default: wanted true or false')
  const id = createHash('sha384').update(policy).digest('hex')
  return { id, fmspc: fmspc.toUpperCase(), policy, isDefault, type: typeOf(policy) }
}

const JWT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\s*$/

function typeOf(policy: string): PolicyType {
  const payload = objectOf(Buffer.from(policy.split('.')[1] ?? '', 'base64url').toString('utf8'))
  const inner = objectOf(payload['policy_payload'])
  const all = inner['policy_array']
  if (!Array.isArray(all)) throw invalid('policy: its payload has no policy_array')
  for (const one of all as readonly unknown[]) {
    const { environment } = { environment: undefined, ...(one as object) }
    const { class_id: id } = { class_id: undefined, ...(environment as object | undefined) }
    const classId = typeof id === 'string' ? (id as string).toLowerCase() : ''
    const type = Object.hasOwn(TYPES, classId) ? TYPES[classId] : undefined
    if (type !== undefined) return type
    if (classId !== TD_QE_CLASS) throw invalid('policy: a class_id that is not known')
  }
  throw invalid('policy: it is about no platform')
}

function objectOf(text: unknown): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = typeof text === 'string' ? JSON.parse(text) : undefined
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  } catch {
    // Told below.
  }
  throw invalid('policy: its payload is not the JSON of a policy')
}

function invalid(message: string): PccsError {
  return new PccsError('INVALID_REQUEST', message)
}
