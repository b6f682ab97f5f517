import { randomUUID } from 'node:crypto'
import {
  checkParseSchema,
  type DetailedError,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
  validate,
} from '@cedar-policy/cedar-wasm/nodejs'
import { PolicyError } from './errors.ts'
import type { ReleaseRequest } from './request.ts'

const SCHEMA = `namespace Cloister {
  entity Instance = {
    measurement: String,
    tee: String,
    tcbStatus: String,
    mrSigner: String,
    isvProdId: Long,
    isvSvn: Long,
    debug: Bool,
  };
  entity Key;
  action release, seal appliesTo {
    principal: [Instance],
    resource: [Key],
    context: { datasetId: String, jobDigest: String, at: Long },
  };
}
`

/** A policy's id and text. */
export interface CedarPolicy {
  readonly policyId: string
  readonly cedar: string
}

/** What Cedar says: the policies that permit, or none; and what it could not evaluate. */
export interface CedarAnswer {
  readonly permittedBy: readonly string[]
  readonly errors: readonly string[]
}

const messages = (errors: readonly DetailedError[]): string =>
  errors.map(({ message }) => message).join('; ')

/**
 * Checks a policy against the schema, strictly; warnings count as errors.
 * @throws PolicyError POLICY_INVALID
 */
export function validatePolicy({ policyId, cedar }: CedarPolicy): void {
  const answer = validate({
    schema: SCHEMA,
    policies: { staticPolicies: { [policyId]: cedar } },
    validationSettings: { mode: 'strict' },
  })
  const found =
    answer.type === 'failure'
      ? answer.errors
      : [...answer.validationErrors, ...answer.validationWarnings].map(({ error }) => error)
  if (found.length > 0) throw new PolicyError('POLICY_INVALID', `not valid: ${messages(found)}`)
}

/** Cedar with parsed policies kept: one set for each key, parsed anew when it changes. */
export class CedarEngine {
  // The engine's cache is one for the whole thread; names keep several engines apart.
  readonly #name = randomUUID()
  readonly #parsed = new Map<string, string>()

  constructor() {
    const parsed = checkParseSchema(SCHEMA)
    if (parsed.type === 'failure') throw new PolicyError('POLICY_INVALID', messages(parsed.errors))
    preparseSchema(this.#name, SCHEMA)
  }

  /**
   * Decides a request by the policies of its key.
   * @throws PolicyError POLICY_INVALID where a policy does not parse
   */
  decide(policies: readonly CedarPolicy[], request: ReleaseRequest): CedarAnswer {
    const { action, at, datasetId, jobDigest, keyId, principal } = request
    const instance = { type: 'Cloister::Instance', id: 'instance' }
    const answer = statefulIsAuthorized({
      principal: instance,
      action: { type: 'Cloister::Action', id: action },
      resource: { type: 'Cloister::Key', id: keyId },
      context: { datasetId, jobDigest, at: at.getTime() },
      entities: [{ uid: instance, attrs: { ...principal }, parents: [] }],
      preparsedSchemaName: this.#name,
      preparsedPolicySetId: this.#parse(keyId, policies),
      validateRequest: true,
    })
    if (answer.type === 'failure') {
      return { permittedBy: [], errors: answer.errors.map(({ message }) => message) }
    }
    const { decision, diagnostics } = answer.response
    const errors = diagnostics.errors.map(({ error }) => error.message)
    // A policy that could not be evaluated may have been one that forbids.
    const isPermit = decision === 'allow' && errors.length === 0
    return { permittedBy: isPermit ? diagnostics.reason : [], errors }
  }

  #parse(keyId: string, policies: readonly CedarPolicy[]): string {
    const setId = `${this.#name}/${keyId}`
    const text = JSON.stringify(policies.map(({ cedar, policyId }) => [policyId, cedar]))
    if (this.#parsed.get(setId) === text) return setId
    const parsed = preparsePolicySet(setId, {
      staticPolicies: Object.fromEntries(policies.map(({ cedar, policyId }) => [policyId, cedar])),
    })
    if (parsed.type === 'failure') throw new PolicyError('POLICY_INVALID', messages(parsed.errors))
    this.#parsed.set(setId, text)
    return setId
  }
}
