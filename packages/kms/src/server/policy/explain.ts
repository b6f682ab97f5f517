import type { PolicyJson } from './cedar/cedar.ts'
import {
  type AttributeRead,
  attributesRead,
  clausesOf,
  clauseText,
  entitiesNamed,
  policyOfClause,
  readCedar,
} from './cedar/clauses.ts'
import type { CedarAnswer, CedarEngine } from './cedar/engine.ts'
import type { Policy } from './policy.ts'
import { type DenialReason, reasonOf } from './reasons.ts'
import { type Asked, contextOf } from './request.ts'
import { unmetConditions } from './template/conditions.ts'

/** Parts of texts that are evaluated by themselves for one denial: each takes a part of a millisecond. */
const MAX_EVALUATED = 64

/** Everything that stands against a request: of each policy, what forbids or does not hold. */
export function reasonsAgainst(
  engine: CedarEngine,
  policies: readonly Policy[],
  asked: Asked,
  answer: CedarAnswer,
): readonly [DenialReason, ...DenialReason[]] {
  const budget = { left: MAX_EVALUATED }
  const reasons = policies.flatMap(policy => {
    if (policy.source.kind === 'template') {
      return unmetConditions(policy.policyId, policy.source.template, asked)
    }
    return textReasons(engine, policy, asked, answer, budget)
  })
  const failed = answer.errors.map(message => evaluationReason(message))
  const [first, ...rest] = [...reasons, ...failed]
  if (first !== undefined) return [first, ...rest]
  if (policies.length > 0) return [evaluationReason('no policy permits the request')]
  const message = `no policy names key ${asked.keyId}`
  return [{ code: 'NO_POLICY', message, wanted: 'a policy that names the key', seen: 'none' }]
}

/** What a policy that was given as text has against a request. */
function textReasons(
  engine: CedarEngine,
  { cedar, policyId }: Policy,
  asked: Asked,
  { forbiddenBy, permittedBy }: CedarAnswer,
  budget: { left: number },
): readonly DenialReason[] {
  const policy = readCedar(cedar)
  if (policy.effect === 'forbid') {
    if (!forbiddenBy.includes(policyId)) return []
    const conditions = clausesOf(policy).map(clauseText).join(' ')
    const wanted = conditions === '' ? 'nothing at all' : `not: ${conditions}`
    return [reasonOf(policyId, 'FORBIDDEN', 'it forbids', wanted, seenIn(policy.conditions, asked))]
  }
  if (permittedBy.includes(policyId)) return []
  const clauses = clausesOf(policy)
  budget.left -= clauses.length
  if (budget.left < 0) {
    const seen = seenIn(policy.conditions, asked)
    return [reasonOf(policyId, 'CONDITION', 'conditions', 'all of the text to hold', seen)]
  }
  const unmet = clauses
    .filter(clause => !engine.holds(policyOfClause(clause), asked, policyId))
    .map(clause => {
      const seen = seenIn(clause.body, asked)
      return reasonOf(policyId, 'CONDITION', 'condition', clauseText(clause), seen)
    })
  return isForAction(policy, asked.action)
    ? unmet
    : [reasonOf(policyId, 'ACTION', 'action', 'another action', asked.action), ...unmet]
}

function isForAction({ action }: PolicyJson, asked: string): boolean {
  return action.op === 'All' || entitiesNamed(action, 'Cloister::Action').includes(asked)
}

/** What the attributes that an expression reads are in a request. */
function seenIn(value: unknown, asked: Asked): string {
  const told = attributesRead(value).map(read => `${read.of}.${read.name} ${seenOf(read, asked)}`)
  return told.join(', ') || 'nothing that it reads'
}

function seenOf({ name, of }: AttributeRead, asked: Asked): string {
  const { principal } = asked
  const instance = { ...principal, tcbDate: principal.tcbDate?.getTime() }
  const { [name]: seen } = (of === 'principal' ? instance : contextOf(asked)) as Record<
    string,
    unknown
  >
  return seen === undefined ? 'not there' : JSON.stringify(seen)
}

function evaluationReason(message: string): DenialReason {
  return { code: 'EVALUATION', message, wanted: 'a permit', seen: 'none' }
}
