import { PolicyError } from '../errors.ts'
import { validate } from './cedar.ts'
import { type CedarPolicy, messagesOf } from './engine.ts'
import { CEDAR_SCHEMA } from './schema.ts'

/**
 * Checks a policy against the schema, strictly; warnings count as errors.
 * @throws PolicyError POLICY_INVALID
 */
export function validatePolicy({ policyId, cedar }: CedarPolicy): void {
  const answer = validate({
    schema: CEDAR_SCHEMA,
    policies: { staticPolicies: { [policyId]: cedar } },
    validationSettings: { mode: 'strict' },
  })
  const found =
    answer.type === 'failure'
      ? answer.errors
      : [...answer.validationErrors, ...answer.validationWarnings].map(({ error }) => error)
  if (found.length > 0) throw new PolicyError('POLICY_INVALID', `not valid: ${messagesOf(found)}`)
}
