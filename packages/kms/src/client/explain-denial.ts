import type { KmsReason } from '../protocol/errors.ts'

/** A reason against a request, and the smallest change that would undo it. */
export interface ExplainedReason extends KmsReason {
  readonly change: string
}

/** What one policy has against a request; all of it must change for the policy to permit. */
export interface ExplainedPolicy {
  /** Absent for what no policy is needed for: withdrawals, keys, datasets. */
  readonly policyId?: string
  readonly reasons: readonly ExplainedReason[]
}

/** Why a request was denied. */
export interface ExplainedDenial {
  /** What stands against the request whatever policies there are, first; then policies, the nearest first. */
  readonly policies: readonly ExplainedPolicy[]
  /** The policy that would permit after the fewest changes; absent where none would. */
  readonly nearest?: string
}

type Change = (wanted: string, seen: string) => string

/** What to change, by the code of a reason. Policies are never changed: another one is added. */
const CHANGES: Readonly<Record<string, Change>> = {
  NO_POLICY: () => 'add a policy for the key: cloister policy add',
  WITHDRAWN: () =>
    'run another image; or, where it was withdrawn wrongly, whoever withdrew it undoes that: cloister policy withdraw --undo',
  FORBIDDEN: () => 'remove the policy that forbids, or run what it does not forbid',
  EVALUATION: () => 'find out why the policy cannot be evaluated, and add one that can',
  CONDITION: wanted => `meet the condition, or add a policy without it: ${wanted}`,
  DEBUG: () => 'run an enclave that is not for debugging: no policy admits one that is',
  MEASUREMENT: (_wanted, seen) =>
    `add a policy whose images name measurement ${seen.slice(0, 64)}, or run an image that one names`,
  ISV_SVN: wanted => `run a newer version of the image: ${wanted}`,
  TEE: (wanted, seen) => `add a policy whose tees have ${seen}, or run in ${wanted}`,
  TCB_STATUS: (wanted, seen) =>
    `bring the platform up to ${wanted}, or add a policy whose tcbStatuses have ${seen}`,
  JOB_DIGEST: (_wanted, seen) =>
    `add a policy whose jobDigests have ${seen}: cloister policy add --job job.yaml`,
  JOB_TEMPLATE: wanted => `run a job of the template, where that says: ${wanted}`,
  ACTION: (_wanted, seen) => `add a policy whose actions have ${seen}`,
  POLICY_DATASET: (_wanted, seen) => `add a policy whose datasets have ${seen}`,
  NOT_BEFORE: wanted => `wait: ${wanted}`,
  NOT_AFTER: () => 'add a policy that lasts longer',
  HOURS: wanted => `run at another time of the day: ${wanted}`,
  RELEASE_LIMIT: () => 'add another policy: the limit of this one is used up, for good',
  PLATFORM: (_wanted, seen) =>
    `run on a platform that is named, or add a policy that names ${seen}`,
  TCB_DATE: wanted => `update the platform's firmware: its TCB is to be of ${wanted}`,
  TCB_EVALUATION_DATA_NUMBER: wanted =>
    `give the key service newer collateral: evaluation data number ${wanted}`,
  ADVISORIES: (_wanted, seen) =>
    `mend what the advisories say on the platform, or add a policy that allows ${seen}`,
  STALE_DATASET: (wanted, seen) => `let the job name the dataset at ${wanted}, not ${seen}`,
  DATASET: () => 'let the job name the dataset',
  DATASET_OWNER: () => 'let one account own the key and the dataset',
  ACCOUNT_DISABLED: () => 'let an administrator of the tenant enable the account that owns the key',
  TENANT_DISABLED: () => 'let the operator enable the tenant that the key is of',
  KEY_DISABLED: () => 'enable the key: cloister key enable',
  KEY_NOT_FOUND: () => 'let the job name a key that is there: cloister key list',
  SLOT_INVALID: () => 'the file was altered, or is of another key: put a good copy back',
  SLOT_KMS: () => 'the file is sealed for another key service',
  OUTPUT_KEY: wanted => `seal the output under the key that the job says: ${wanted}`,
}

/** The codes that an explanation knows a change for. */
export const EXPLAINED_CODES: readonly string[] = Object.keys(CHANGES)

/**
 * Explains a denial from its reasons, as the key service told them or as its audit log has them:
 * policy by policy, what was wanted and seen, and the smallest change.
 */
export function explainDenial(reasons: readonly KmsReason[]): ExplainedDenial {
  const byPolicy = new Map<string | undefined, ExplainedReason[]>()
  for (const reason of reasons) {
    const change = CHANGES[reason.code]?.(reason.wanted ?? '', reason.seen ?? '')
    if (change === undefined) continue
    const known = byPolicy.get(reason.policyId) ?? []
    byPolicy.set(reason.policyId, known)
    // A request for several datasets is denied by the same policy for the same reason each time.
    const isNew = !known.some(
      ({ code, seen, wanted }) =>
        code === reason.code && seen === reason.seen && wanted === reason.wanted,
    )
    if (isNew) known.push({ ...reason, change })
  }
  const own = byPolicy.get(undefined) ?? []
  byPolicy.delete(undefined)
  const policies = [...byPolicy]
    .map(([policyId, of]) => ({ ...(policyId === undefined ? {} : { policyId }), reasons: of }))
    .sort((one, other) => distance(one) - distance(other))
  const [nearest] = policies.filter(policy => Number.isFinite(distance(policy)))
  return {
    policies: [...(own.length === 0 ? [] : [{ reasons: own }]), ...policies],
    ...(nearest?.policyId === undefined ? {} : { nearest: nearest.policyId }),
  }
}

/** How much must change for a policy to permit; without end where it is one that forbids. */
function distance({ reasons }: ExplainedPolicy): number {
  return reasons.some(({ code }) => code === 'FORBIDDEN')
    ? Number.POSITIVE_INFINITY
    : reasons.length
}
