import { UsageError } from '../usage-error.ts'

/** The time to judge at, as `--at` gives it; now unless told. @throws UsageError */
export function instantOf(text: string | undefined): Date {
  const at =
    text === undefined ? new Date() : new Date(/^\d+$/.test(text) ? Number(text) * 1000 : text)
  if (Number.isNaN(at.getTime())) {
    throw new UsageError(
      `--at: wanted an instant, saw ${JSON.stringify(text)}`,
      'write 2026-01-31, 2026-01-31T12:00:00Z, or seconds since 1970',
    )
  }
  return at
}
