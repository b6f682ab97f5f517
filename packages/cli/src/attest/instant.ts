import { readInstant } from '@cloister/attestation'
import { UsageError } from '../usage-error.ts'

/** The time to judge at, as `--at` gives it; now unless told. @throws UsageError */
export function instantOf(text: string | undefined): Date {
  if (text === undefined) return new Date()
  const at = /^\d{1,12}$/.test(text) ? new Date(Number(text) * 1000) : readInstant(text)
  if (at !== undefined) return at
  throw new UsageError(
    `--at: wanted an instant, saw ${JSON.stringify(text)}`,
    'write 2026-01-31 (midnight UTC), 2026-01-31T12:00:00Z, or seconds since 1970',
  )
}
