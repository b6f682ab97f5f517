import { randomUUID } from 'node:crypto'
import { readKey } from '../keys/description.ts'
import { issueReleaseGrant, type ReleaseGrant } from '../keys/grant.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { PoliciesTable } from '../store/schema.ts'
import { CedarEngine } from './cedar/engine.ts'
import type { TriedCedar } from './cedar/trial.ts'
import { validatePolicy } from './cedar/validate.ts'
import { PolicyError } from './errors.ts'
import { reasonsAgainst } from './explain.ts'
import { encodeSource, type Policy, type PolicySource, policyFrom } from './policy.ts'
import { PolicySets } from './policy-sets.ts'
import type { DenialReason } from './reasons.ts'
import { ReleaseCounts } from './releases.ts'
import type { Asked, ReleaseRequest, Releases } from './request.ts'
import { cedarOf } from './template/conditions.ts'
import { templatesOf } from './template/matching.ts'
import { parseReleaseTemplate } from './template/template.ts'

/** Most policies of one key, and characters of their texts together: what one decision reads. */
const MAX_POLICIES = 32
const MAX_TEXT = 64 << 10

/** Policies whose rows were read into what they mean, at most. */
const MAX_READ = 4096

/** Whether an instance may do what it asks for: the grant for exactly that, or every reason why not. */
export type Decision =
  | { readonly decision: 'permit'; readonly policyId: string; readonly grant: ReleaseGrant }
  | { readonly decision: 'deny'; readonly reasons: readonly [DenialReason, ...DenialReason[]] }

/** Whom a policy is of, and since when. */
interface Stored {
  readonly owner: string
  readonly at: Date
}

/** Release policies. Nothing is permitted that no policy permits. */
export class Policies {
  readonly #engine = new CedarEngine()
  readonly #counts = new ReleaseCounts()
  readonly #sets = new PolicySets()
  /** By id: a policy's row never changes, and is proven before this is asked. */
  readonly #read = new Map<string, Policy>()

  /**
   * Stores a policy for a key of its owner's.
   * @throws PolicyError POLICY_INVALID, TOO_MANY_POLICIES; KeyError KEY_NOT_FOUND
   */
  async add(tx: StoreTransaction, unchecked: unknown, stored: Stored): Promise<Policy> {
    const template = parseReleaseTemplate(unchecked)
    const policyId = randomUUID()
    const cedar = cedarOf(policyId, template)
    validatePolicy({ policyId, cedar })
    const source: PolicySource = { kind: 'template', template }
    return await this.#insert(tx, { policyId, keyId: template.keyId, source, cedar }, stored)
  }

  /**
   * Stores a policy that was given as text.
   * @throws PolicyError TOO_MANY_POLICIES; KeyError KEY_NOT_FOUND
   */
  async addText(tx: StoreTransaction, tried: TriedCedar, stored: Stored): Promise<Policy> {
    const { cedar, effect, keyId } = tried
    const source: PolicySource = { kind: 'cedar', effect }
    return await this.#insert(tx, { policyId: randomUUID(), keyId, source, cedar }, stored)
  }

  /** Takes policies over that were stored before each key had a list of its own. Run at a start. */
  async adopt(tx: StoreTransaction): Promise<void> {
    await this.#sets.adopt(tx)
  }

  /** An account's policies, oldest first. @throws StoreError ROW_MAC */
  async list({ db, guard }: StoreTransaction, owner: string): Promise<readonly Policy[]> {
    const query = db.selectFrom('policies').selectAll().where('owner', '=', owner)
    const rows = await query.orderBy('created_at').orderBy('policy_id').execute()
    for (const row of rows) guard.proven('policies', row.policy_id, row)
    return rows.map(row => this.#policyOf(row))
  }

  /** A policy. @throws PolicyError POLICY_NOT_FOUND */
  async get(tx: StoreTransaction, policyId: string): Promise<Policy> {
    const row = await tx.find('policies', policyId)
    if (row === undefined) {
      throw new PolicyError('POLICY_NOT_FOUND', `there is no policy ${policyId}`)
    }
    return this.#policyOf(row)
  }

  /** How often a policy has permitted a release. */
  async releasesBy(tx: StoreTransaction, policyId: string): Promise<number> {
    return await this.#counts.of(tx, 'policy', policyId)
  }

  /** Takes a policy away. @throws PolicyError POLICY_NOT_FOUND */
  async remove(tx: StoreTransaction, policyId: string): Promise<void> {
    const { keyId } = await this.get(tx, policyId)
    await this.#sets.remove(tx, keyId, policyId)
    tx.guard.remove('policies', policyId)
    await tx.db.deleteFrom('policies').where('policy_id', '=', policyId).execute()
    await this.#counts.forgetPolicy(tx, policyId)
  }

  /**
   * Decides whether an instance may use a key. `request.principal` must come from evidence that
   * verified: nothing here can tell.
   * @param countedBy - Where the request goes on with a release: the policies that one counted by
   * @throws StoreError ROW_MAC; PolicyError POLICY_INVALID where a stored policy does not parse
   */
  async evaluate(
    tx: StoreTransaction,
    request: ReleaseRequest,
    countedBy: ReadonlySet<string> = new Set(),
  ): Promise<Decision> {
    const policies = await this.#ofKey(tx, request.keyId)
    const ids = policies.map(({ policyId }) => policyId)
    const releases = await this.#counts.before(tx, request.keyId, ids, countedBy)
    return this.decide(policies, request, releases)
  }

  /** Counts a release: under each of its keys, and by each policy that permitted it. */
  async count(
    tx: StoreTransaction,
    permits: readonly { readonly keyId: string; readonly policyId: string }[],
  ): Promise<void> {
    for (const keyId of new Set(permits.map(permit => permit.keyId))) {
      await this.#counts.add(tx, 'key', keyId)
    }
    for (const policyId of new Set(permits.map(permit => permit.policyId))) {
      await this.#counts.add(tx, 'policy', policyId)
    }
  }

  /** Decides by policies at hand. @throws PolicyError POLICY_INVALID where one does not parse */
  decide(policies: readonly Policy[], request: ReleaseRequest, releases: Releases): Decision {
    const asked: Asked = { ...request, releases, jobTemplates: templatesOf(policies, request.job) }
    // Whatever a text says or leaves out: a debug enclave's host reads its memory.
    if (asked.principal.debug) return { decision: 'deny', reasons: [DEBUG_ENCLAVE] }
    const answer = this.#engine.decide(policies, asked)
    const policyId = preferred(policies, answer.permittedBy)
    if (policyId !== undefined) {
      const { action, datasetId, keyId } = request
      const grant = issueReleaseGrant({ action, keyId, datasetId })
      return { decision: 'permit', policyId, grant }
    }
    return { decision: 'deny', reasons: reasonsAgainst(this.#engine, policies, asked, answer) }
  }

  async #ofKey(tx: StoreTransaction, keyId: string): Promise<readonly Policy[]> {
    const rows = await this.#sets.ofKey(tx, keyId)
    return rows.map(row => this.#policyOf(row))
  }

  #policyOf(row: PoliciesTable): Policy {
    const known = this.#read.get(row.policy_id)
    if (known !== undefined) return known
    const [oldest] = this.#read.keys()
    if (this.#read.size >= MAX_READ && oldest !== undefined) this.#read.delete(oldest)
    const policy = policyFrom(row)
    this.#read.set(row.policy_id, policy)
    return policy
  }

  async #insert(
    tx: StoreTransaction,
    policy: Omit<Policy, 'owner' | 'createdAt'>,
    { at, owner }: Stored,
  ): Promise<Policy> {
    const { cedar, keyId, policyId, source } = policy
    const key = await readKey(tx, keyId)
    if (key.owner !== owner) {
      throw new PolicyError('POLICY_INVALID', `key ${keyId} is another account's`)
    }
    const others = await this.#ofKey(tx, keyId)
    const length = others.reduce((sum, other) => sum + other.cedar.length, cedar.length)
    if (others.length >= MAX_POLICIES || length > MAX_TEXT) {
      const what = `a key has at most ${MAX_POLICIES} policies, of ${MAX_TEXT} characters together`
      throw new PolicyError('TOO_MANY_POLICIES', what)
    }
    const columns = {
      policy_id: policyId,
      owner,
      key_id: keyId,
      template: encodeSource(source),
      cedar,
      created_at: at.toISOString(),
    }
    const stamp = tx.guard.stamp<PoliciesTable>('policies', policyId, columns)
    tx.insert('policies', { ...columns, ...stamp })
    await this.#sets.add(tx, keyId, policyId)
    return policyFrom(columns)
  }
}

const DEBUG_ENCLAVE: DenialReason = {
  code: 'DEBUG',
  message: 'nothing is released to a debug enclave, whatever a policy says',
  wanted: 'off',
  seen: 'on',
}

/** The policy that a permit is counted by: one without a limit where there is one, else the oldest. */
function preferred(
  policies: readonly Policy[],
  permittedBy: readonly string[],
): string | undefined {
  const permitting = policies.filter(({ policyId }) => permittedBy.includes(policyId))
  return (permitting.find(policy => limitOf(policy) === undefined) ?? permitting[0])?.policyId
}

function limitOf({ source }: Policy): number | undefined {
  return source.kind === 'template' ? source.template.maxReleases : undefined
}
