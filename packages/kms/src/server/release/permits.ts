import { toHex } from '../../protocol/encoding.ts'
import type { KmsReason } from '../../protocol/errors.ts'
import { standingOf } from '../accounts/index.ts'
import type { Act } from '../acts.ts'
import { KeyError, type ReleaseGrant, type UsableKey } from '../keys/index.ts'
import { claimsOf } from '../policy/index.ts'
import type { KmsService } from '../service.ts'
import { getHead, type StoredHead, type StoreTransaction } from '../store/index.ts'
import type { Instance } from './authorise.ts'

/** A key that an instance may use for one dataset. */
export interface Permit {
  readonly key: UsableKey
  /** The policy that permits. */
  readonly policyId: string
  readonly grant: ReleaseGrant
}

/** Reasons after which a request is denied without looking for more. */
const MAX_REASONS = 64

/**
 * Decides whether an instance may use a key for a dataset: the key must be usable and its owner not
 * disabled, the dataset the owner's, nothing of the instance withdrawn, and a release policy permit it.
 * Every ground against it is added to `reasons`, until there are many.
 */
export async function permitFor(
  service: KmsService,
  tx: StoreTransaction,
  instance: Instance,
  use: {
    readonly action: 'release' | 'seal'
    readonly keyId: string
    readonly datasetId: string
    readonly head: StoredHead | undefined
    /** The instant that policies are asked about: of a job, the one of its release. */
    readonly at: Date
    /** Policies that the job's own release is counted by already. */
    readonly countedBy: ReadonlySet<string>
  },
  reasons: KmsReason[],
  act: Act,
): Promise<Permit | undefined> {
  const { action, keyId, datasetId, head, at, countedBy } = use
  if (reasons.length >= MAX_REASONS) return undefined
  const { job, token } = instance
  const principal = claimsOf(token)
  let key: UsableKey
  try {
    // Noted first: the owner is also told of what a disabled key was asked for.
    note(act, 'accounts', (await service.keys.get(tx, keyId)).owner)
    key = await service.keys.usable(tx, keyId)
  } catch (error) {
    if (!(error instanceof KeyError)) throw error
    reasons.push({ code: error.code, message: error.message })
    return undefined
  }
  if (head !== undefined && head.owner !== key.owner) {
    const message = `dataset ${datasetId} and key ${keyId} are not of one account`
    reasons.push({ code: 'DATASET_OWNER', message })
    return undefined
  }
  const standing = await standingOf(service, tx, key.owner)
  if ('refused' in standing) {
    const message = `key ${keyId}, of its owner: ${standing.message}`
    reasons.push({ code: standing.refused, message })
    return undefined
  }
  const withdrawn = await service.withdrawals.against(tx, principal, key.owner)
  if (withdrawn.length > 0) {
    reasons.push(...withdrawn)
    return undefined
  }
  const jobDigest = toHex(token.jobDigest)
  const request = { action, principal, keyId, datasetId, jobDigest, job, at }
  const decision = await service.policies.evaluate(tx, request, countedBy)
  switch (decision.decision) {
    case 'permit':
      note(act, 'policies', decision.policyId)
      return { key, policyId: decision.policyId, grant: decision.grant }
    case 'deny':
      reasons.push(...decision.reasons)
      return undefined
  }
}

/** Adds to a list in an act's audit row, which thereby concerns an account or names a policy. */
function note({ details }: Act, list: 'accounts' | 'policies', id: string): void {
  const noted = details[list]
  details[list] = [...new Set([...(Array.isArray(noted) ? noted : []), id])]
}

/** The heads of some datasets. */
export async function headsOf(
  tx: StoreTransaction,
  datasetIds: readonly string[],
): Promise<ReadonlyMap<string, StoredHead | undefined>> {
  const heads = new Map<string, StoredHead | undefined>()
  for (const datasetId of datasetIds) heads.set(datasetId, await getHead(tx, datasetId))
  return heads
}
