import { canonicalJsonBytes } from '@cloister/sealed'
import type { JsonValue } from '../store/schema.ts'

/** One reason for a decision. */
interface Reason {
  readonly code: string
  readonly message: string
  readonly wanted?: JsonValue
  readonly seen?: JsonValue
  readonly policyId?: string
}

/** One act, release or denial. Beside what is named here, whatever JSON tells what happened. */
export interface AuditEntry {
  /** Instant, ISO 8601. */
  readonly at: string
  /** Who: `account:<id>`, `instance:<measurement>`, or `kms`. */
  readonly actor: string
  /** What, such as `key.create`. */
  readonly action: string
  readonly outcome: 'done' | 'released' | 'denied'
  /** All reasons of a denial. */
  readonly reasons: readonly Reason[]
  readonly [detail: string]: unknown
}

/** A leaf's bytes: RFC 8785 JSON of the entry. @throws TypeError where it is not JSON */
export function encodeAuditEntry(entry: AuditEntry): Uint8Array {
  return canonicalJsonBytes(entry)
}

/** What concerns all: that the database was restored, and what was written after its backup is lost. */
export const isRestore = ({ action, actor }: AuditEntry): boolean =>
  actor === 'kms' && action === 'restore'

/** Whether an account may see an entry: its own acts, and what was done or tried with what it owns. */
export function concerns(entry: AuditEntry, accountId: string): boolean {
  if (isRestore(entry)) return true
  const accounts = entry['accounts']
  const isNamed = Array.isArray(accounts) && accounts.includes(accountId)
  return isNamed || entry.actor === `account:${accountId}`
}
