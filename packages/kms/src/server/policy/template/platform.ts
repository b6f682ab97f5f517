import type { ReleaseTemplate } from '../../../protocol/messages/policies.ts'
import { type Condition, oneOf, quoted } from './condition.ts'

const ABSENT = 'not told by this kind of evidence'

/** What appraisal tells of the platform. What evidence does not tell does not hold. */
export function platformConditions(template: ReleaseTemplate): readonly Condition[] {
  const { acceptedAdvisories, minTcbDate, minTcbEvaluationDataNumber, platforms } = template
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
  if (minTcbEvaluationDataNumber !== undefined) {
    const name = 'tcbEvaluationDataNumber'
    conditions.push({
      code: 'TCB_EVALUATION_DATA_NUMBER',
      subject: 'TCB evaluation data number',
      cedar: `principal has ${name} && principal.${name} >= ${minTcbEvaluationDataNumber}`,
      unmet: ({ principal: { tcbEvaluationDataNumber: seen } }) =>
        seen !== undefined && seen >= minTcbEvaluationDataNumber
          ? undefined
          : { wanted: `${minTcbEvaluationDataNumber} or more`, seen: String(seen ?? ABSENT) },
    })
  }
  if (acceptedAdvisories !== undefined) conditions.push(advisoriesCondition(acceptedAdvisories))
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
