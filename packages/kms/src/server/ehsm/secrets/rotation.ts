import { refused } from '../wire/refusal.ts'

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const MIN_MS = 6 * UNIT_MS.h
const MAX_MS = 8760 * UNIT_MS.h

/** Form of a rotation interval: up to four digits and a unit. */
export const ROTATION_INTERVAL = /^\d{1,4}[dhms]$/

/** An interval in milliseconds. @throws EhsmRefusal unless it is 6 to 8760 hours */
export function rotationMs(interval: string): number {
  const unit = interval.slice(-1) as keyof typeof UNIT_MS
  const duration = Number(interval.slice(0, -1)) * UNIT_MS[unit]
  if (duration >= MIN_MS && duration <= MAX_MS) return duration
  throw refused('The rotation time is less than 6 hours or more than 8760 hours')
}
