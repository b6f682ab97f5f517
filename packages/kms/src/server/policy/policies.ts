import { randomUUID } from 'node:crypto'
import { canonicalJson } from '@cloister/sealed'
import { readKey } from '../keys/description.ts'
import { issueReleaseGrant, type ReleaseGrant } from '../keys/grant.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { PoliciesTable } from '../store/schema.ts'
import { CedarEngine, validatePolicy } from './cedar.ts'
import { cedarOf, type DenialReason, explain } from './conditions.ts'
import { PolicyError } from './errors.ts'
import type { ReleaseRequest } from './request.ts'
import { parseReleaseTemplate, type ReleaseTemplate, type UncheckedTemplate } from './template.ts'

/** A release policy as it is stored. */
export interface StoredPolicy {
  /** UUID. */
  readonly policyId: string
  /** Account that the policy, and its key, belong to. */
  readonly owner: string
  readonly keyId: string
  readonly template: ReleaseTemplate
  /** The policy's text, which decides. */
  readonly cedar: string
  readonly createdAt: string
}

/** Whether an instance may do what it asks for: the grant for exactly that, or every reason why not. */
export type Decision =
  | { readonly decision: 'permit'; readonly policyId: string; readonly grant: ReleaseGrant }
  | { readonly decision: 'deny'; readonly reasons: readonly [DenialReason, ...DenialReason[]] }

/** Release policies. Nothing is permitted that no policy permits. */
export class Policies {
  readonly #engine = new CedarEngine()

  /**
   * Stores a policy for a key of its owner's.
   * @throws PolicyError POLICY_INVALID; KeyError KEY_NOT_FOUND
   */
  async add(
    tx: StoreTransaction,
    policy: UncheckedTemplate & { readonly owner: string; readonly at: Date },
  ): Promise<StoredPolicy> {
    const { at, owner, ...fields } = policy
    const template = parseReleaseTemplate(fields)
    const key = await readKey(tx, template.keyId)
    if (key.owner !== owner) {
      throw new PolicyError('POLICY_INVALID', `key ${key.keyId} is another account's`)
    }
    const policyId = randomUUID()
    const cedar = cedarOf(policyId, template)
    validatePolicy({ policyId, cedar })
    const columns = {
      policy_id: policyId,
      owner,
      key_id: template.keyId,
      template: canonicalJson({ ...template, job: { ...template.job } }),
      cedar,
      created_at: at.toISOString(),
    }
    const stamp = tx.guard.stamp<PoliciesTable>('policies', policyId, columns)
    await tx.db
      .insertInto('policies')
      .values({ ...columns, ...stamp })
      .execute()
    return storedPolicyFrom(columns)
  }

  /** An account's policies, oldest first. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction, owner: string): Promise<readonly StoredPolicy[]> {
    const query = db.selectFrom('policies').selectAll().where('owner', '=', owner)
    const rows = await query.orderBy('created_at').orderBy('policy_id').execute()
    for (const row of rows) guard.proven('policies', row.policy_id, row)
    return rows.map(storedPolicyFrom)
  }

  /** Takes a policy away. @throws PolicyError POLICY_NOT_FOUND */
  async remove({ db, guard }: StoreTransaction, policyId: string): Promise<void> {
    const query = db.selectFrom('policies').selectAll().where('policy_id', '=', policyId)
    const row = guard.proven('policies', policyId, await query.executeTakeFirst())
    if (row === undefined) {
      throw new PolicyError('POLICY_NOT_FOUND', `there is no policy ${policyId}`)
    }
    guard.remove('policies', policyId)
    await db.deleteFrom('policies').where('policy_id', '=', policyId).execute()
  }

  /**
   * Decides whether an instance may use a key. `request.principal` must come from evidence that
   * verified: nothing here can tell.
   * @throws StoreError ROW_MAC; PolicyError POLICY_INVALID where a stored policy does not parse
   */
  async evaluate(tx: StoreTransaction, request: ReleaseRequest): Promise<Decision> {
    const { action, datasetId, keyId } = request
    const query = tx.db.selectFrom('policies').selectAll().where('key_id', '=', keyId)
    const rows = await query.orderBy('created_at').orderBy('policy_id').execute()
    for (const row of rows) tx.guard.proven('policies', row.policy_id, row)
    const policies = rows.map(storedPolicyFrom)
    const { errors, permittedBy } = this.#engine.decide(policies, request)
    const [policyId] = permittedBy
    if (policyId !== undefined) {
      const grant = issueReleaseGrant({ action, keyId, datasetId })
      return { decision: 'permit', policyId, grant }
    }
    return { decision: 'deny', reasons: reasonsFor(policies, request, errors) }
  }
}

function reasonsFor(
  policies: readonly StoredPolicy[],
  request: ReleaseRequest,
  errors: readonly string[],
): readonly [DenialReason, ...DenialReason[]] {
  const explained = policies.flatMap(policy => explain(policy.policyId, policy.template, request))
  const failed = errors.map(message => evaluationReason(message))
  const [first, ...rest] = [...explained, ...failed]
  if (first !== undefined) return [first, ...rest]
  if (policies.length > 0) return [evaluationReason('no policy permits the request')]
  const message = `no policy names key ${request.keyId}`
  return [{ code: 'NO_POLICY', message, wanted: 'a policy that names the key', seen: 'none' }]
}

function evaluationReason(message: string): DenialReason {
  return { code: 'EVALUATION', message, wanted: 'a permit', seen: 'none' }
}

function storedPolicyFrom(row: Omit<PoliciesTable, 'mac' | 'row_version'>): StoredPolicy {
  const template: unknown = JSON.parse(row.template)
  return {
    policyId: row.policy_id,
    owner: row.owner,
    keyId: row.key_id,
    template: parseReleaseTemplate(template),
    cedar: row.cedar,
    createdAt: row.created_at,
  }
}
