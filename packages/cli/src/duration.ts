import { UsageError } from './usage-error.ts'

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Reads a duration such as `90d`, `12h`, `30m` or `60s`, in seconds. @throws UsageError */
export function secondsFrom(flag: string, text: string): number {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  const seconds = unit === undefined ? undefined : SECONDS[unit]
  if (count !== undefined && seconds !== undefined) return Number(count) * seconds
  throw new UsageError(
    `${flag}: wanted a duration, saw ${JSON.stringify(text)}`,
    'write 90d, 12h, 30m or 60s',
  )
}
