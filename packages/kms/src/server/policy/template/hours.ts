import type { ReleaseTemplate } from '../../../protocol/messages/policies.ts'
import { minuteOfDay, weekday } from '../request.ts'
import type { Condition } from './condition.ts'

const DAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday']

/** From when on, and until when. */
export function timeConditions({ notAfter, notBefore }: ReleaseTemplate): readonly Condition[] {
  const conditions: Condition[] = []
  if (notBefore !== undefined) {
    conditions.push({
      code: 'NOT_BEFORE',
      subject: 'time',
      cedar: `context.at >= ${Date.parse(notBefore)}`,
      unmet: ({ at }) =>
        at.getTime() >= Date.parse(notBefore)
          ? undefined
          : { wanted: `${notBefore} or later`, seen: at.toISOString() },
    })
  }
  if (notAfter !== undefined) {
    conditions.push({
      code: 'NOT_AFTER',
      subject: 'time',
      cedar: `context.at < ${Date.parse(notAfter)}`,
      unmet: ({ at }) =>
        at.getTime() < Date.parse(notAfter)
          ? undefined
          : { wanted: `before ${notAfter}`, seen: at.toISOString() },
    })
  }
  return conditions
}

/**
 * At which times of the day, on which days; UTC. Hours past midnight belong to the day that they
 * begin on.
 */
export function hoursCondition(hours: ReleaseTemplate['hours']): Condition | undefined {
  if (hours === undefined) return undefined
  const { weekdays = [1, 2, 3, 4, 5, 6, 7] } = hours
  const [from, to] = [minutes(hours.from), minutes(hours.to)]
  const isOvernight = to < from
  const isWithin = (day: number, minute: number): boolean => {
    if (!isOvernight) return weekdays.includes(day) && minute >= from && minute < to
    const dayBefore = day === 1 ? 7 : day - 1
    return (
      (weekdays.includes(day) && minute >= from) || (weekdays.includes(dayBefore) && minute < to)
    )
  }
  const onDays = (days: readonly number[]) => `[${days.join(', ')}].contains(context.weekday)`
  const nextDays = weekdays.map(day => (day === 7 ? 1 : day + 1)).sort((one, two) => one - two)
  const cedar = isOvernight
    ? `(${onDays(weekdays)} && context.minuteOfDay >= ${from}) || (${onDays(nextDays)} && context.minuteOfDay < ${to})`
    : `${onDays(weekdays)} && context.minuteOfDay >= ${from} && context.minuteOfDay < ${to}`
  const days = weekdays.length === 7 ? '' : ` on ${weekdays.map(day => DAYS[day - 1]).join(', ')}`
  return {
    code: 'HOURS',
    subject: 'time of the day',
    cedar,
    unmet: ({ at }) =>
      isWithin(weekday(at), minuteOfDay(at))
        ? undefined
        : { wanted: `${hours.from} to ${hours.to} UTC${days}`, seen: seenAt(at) },
  }
}

function minutes(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3))
}

function seenAt(at: Date): string {
  return `${at.toISOString().slice(11, 16)} UTC on ${DAYS[weekday(at) - 1]}`
}
