import type { ReleaseTemplate } from '../../../protocol/messages/policies.ts'
import { type Condition, oneOf, quoted } from './condition.ts'

const ABSENT = 'not told by this kind of evidence'

/** What appraisal tells of the platform. What evidence does not tell does not hold. */
export function platformConditions(template: ReleaseTemplate): readonly Condition[] {
  const { allowedAdvisories, minTcbDate, minTcbEvaluationNumber, platforms } = template
  const conditions: Condition[] = []
  if (platforms !== undefined) {
    conditions.push({
      code: 'PLATFORM',
      subject: 'platform',
      cedar: `principal has platform && ${oneOf(platforms, 'principal.platform')}`,
      unmet: ({ principal: { platform = ABSENT } }) =>
        platforms.includes(platform) ? undefined : { wanted: platforms.join(', '), seen: platform },
    })
  }
  if (minTcbDate !== undefined) {
    const floor = Date.parse(minTcbDate)
    conditions.push({
      code: 'TCB_DATE',
      subject: 'TCB date',
      cedar: `principal has tcbDate && principal.tcbDate >= ${floor}`,
      unmet: ({ principal: { tcbDate } }) =>
        tcbDate !== undefined && tcbDate.getTime() >= floor
          ? undefined
          : { wanted: `${minTcbDate} or later`, seen: tcbDate?.toISOString() ?? ABSENT },
    })
  }
  if (minTcbEvaluationNumber !== undefined) {
    const name = 'tcbEvaluationNumber'
    conditions.push({
      code: 'TCB_EVALUATION_NUMBER',
      subject: 'TCB evaluation data number',
      cedar: `principal has ${name} && principal.${name} >= ${minTcbEvaluationNumber}`,
      unmet: ({ principal: { tcbEvaluationNumber: seen } }) =>
        seen !== undefined && seen >= minTcbEvaluationNumber
          ? undefined
          : { wanted: `${minTcbEvaluationNumber} or more`, seen: String(seen ?? ABSENT) },
    })
  }
  if (allowedAdvisories !== undefined) conditions.push(advisoriesCondition(allowedAdvisories))
  return conditions
}

function advisoriesCondition(allowed: readonly string[]): Condition {
  const list = allowed.map(quoted).join(', ')
  return {
    code: 'ADVISORIES',
    subject: 'open advisories',
    // Cedar has no empty set to compare with.
    cedar:
      allowed.length === 0
        ? 'principal.advisories.isEmpty()'
        : `[${list}].containsAll(principal.advisories)`,
    unmet: ({ principal: { advisories } }) => {
      const others = advisories.filter(id => !allowed.includes(id))
      if (others.length === 0) return undefined
      const wanted = allowed.length === 0 ? 'none' : `none but ${allowed.join(', ')}`
      return { wanted, seen: others.join(', ') }
    },
  }
}
