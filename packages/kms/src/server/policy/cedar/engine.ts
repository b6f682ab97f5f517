import { createHash, randomUUID } from 'node:crypto'
import { PolicyError } from '../errors.ts'
import { type Asked, contextOf } from '../request.ts'
import {
  type AuthorizationAnswer,
  checkParseSchema,
  type DetailedError,
  type Entities,
  isAuthorized,
  type Policy,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
} from './cedar.ts'
import { CEDAR_SCHEMA } from './schema.ts'

/** Sets of parsed policies that are kept. */
const MAX_SETS = 256

/** A policy's id and text. */
export interface CedarPolicy {
  readonly policyId: string
  readonly cedar: string
}

/** What Cedar says: the policies that decided, and what it could not evaluate. */
export interface CedarAnswer {
  /** Policies that permit; none where the request is denied. */
  readonly permittedBy: readonly string[]
  /** Policies that forbid. */
  readonly forbiddenBy: readonly string[]
  readonly errors: readonly string[]
}

/** Messages of Cedar's errors, as one text. */
export const messagesOf = (errors: readonly DetailedError[]): string =>
  errors.map(({ help, message }) => (help === null ? message : `${message} (${help})`)).join('; ')

/** The type of the entity that bears a policy's count. */
export const COUNTER = 'Cloister::Policy'

const INSTANCE = { type: 'Cloister::Instance', id: 'instance' }

/** Cedar with parsed policies kept: each set of policies is parsed once. */
export class CedarEngine {
  // The engine's cache is one for the whole thread; names keep several engines apart.
  readonly #name = randomUUID()
  /** Digests of the sets that are kept, oldest first, and the names they are kept under. */
  readonly #sets = new Map<string, string>()

  constructor() {
    const parsed = checkParseSchema(CEDAR_SCHEMA)
    if (parsed.type === 'failure') {
      throw new PolicyError('POLICY_INVALID', messagesOf(parsed.errors))
    }
    preparseSchema(this.#name, CEDAR_SCHEMA)
  }

  /**
   * Decides a request by the policies of its key.
   * @throws PolicyError POLICY_INVALID where a policy does not parse
   */
  decide(policies: readonly CedarPolicy[], asked: Asked): CedarAnswer {
    return answerFrom(
      statefulIsAuthorized({
        ...cedarRequest(asked, limited(policies)),
        preparsedSchemaName: this.#name,
        preparsedPolicySetId: this.#parsed(policies),
        validateRequest: true,
      }),
    )
  }

  /** Whether one policy, which is not kept, permits a request. @see clauses.ts */
  holds(policy: Policy, asked: Asked, policyId: string): boolean {
    const staticPolicies = { [policyId]: policy }
    const call = { ...cedarRequest(asked, []), policies: { staticPolicies } }
    const { errors, permittedBy } = answerFrom(isAuthorized(call))
    return errors.length === 0 && permittedBy.length > 0
  }

  #parsed(policies: readonly CedarPolicy[]): string {
    const hash = createHash('sha256')
    for (const { cedar, policyId } of policies) {
      hash.update(`${policyId.length} ${cedar.length}\n${policyId}${cedar}`)
    }
    const digest = hash.digest('base64url')
    const kept = this.#sets.get(digest)
    const name = kept ?? this.#parse(policies)
    this.#sets.delete(digest)
    this.#sets.set(digest, name)
    return name
  }

  /** Parses a set, under a free name or in place of the set that was not used for longest. */
  #parse(policies: readonly CedarPolicy[]): string {
    const [oldest] = this.#sets
    const isFull = this.#sets.size >= MAX_SETS && oldest !== undefined
    const name = isFull ? oldest[1] : `${this.#name}/${this.#sets.size}`
    const parsed = preparsePolicySet(name, {
      staticPolicies: Object.fromEntries(policies.map(({ cedar, policyId }) => [policyId, cedar])),
    })
    if (parsed.type === 'failure') {
      throw new PolicyError('POLICY_INVALID', messagesOf(parsed.errors))
    }
    if (isFull) this.#sets.delete(oldest[0])
    return name
  }
}

/** Policies with a limit, which ask for their own count. */
function limited(policies: readonly CedarPolicy[]): readonly string[] {
  const asking = policies.filter(({ cedar }) => cedar.includes(COUNTER))
  return asking.map(({ policyId }) => policyId)
}

function cedarRequest(asked: Asked, policyIds: readonly string[]) {
  const { action, keyId, principal, releases } = asked
  const { tcbDate, ...claims } = principal
  const attrs = {
    ...claims,
    advisories: [...claims.advisories],
    ...(tcbDate === undefined ? {} : { tcbDate: tcbDate.getTime() }),
  }
  const counters: Entities = policyIds.map(id => ({
    uid: { type: COUNTER, id },
    attrs: { releases: releases.ofPolicy.get(id) ?? 0 },
    parents: [],
  }))
  return {
    principal: INSTANCE,
    action: { type: 'Cloister::Action', id: action },
    resource: { type: 'Cloister::Key', id: keyId },
    context: contextOf(asked),
    entities: [{ uid: INSTANCE, attrs, parents: [] }, ...counters],
  }
}

function answerFrom(answer: AuthorizationAnswer): CedarAnswer {
  if (answer.type === 'failure') {
    const errors = answer.errors.map(({ message }) => message)
    return { permittedBy: [], forbiddenBy: [], errors }
  }
  const { decision, diagnostics } = answer.response
  const { reason } = diagnostics
  const errors = diagnostics.errors.map(({ error, policyId }) => `${policyId}: ${error.message}`)
  // A policy that could not be evaluated may have been one that forbids.
  const isPermit = decision === 'allow' && errors.length === 0
  return {
    permittedBy: isPermit ? reason : [],
    // Where Cedar denies, only policies that forbid have decided.
    forbiddenBy: decision === 'deny' ? reason : [],
    errors,
  }
}
