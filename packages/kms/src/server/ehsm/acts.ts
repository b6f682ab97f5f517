import type { AuditEntry } from '../audit/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { EhsmRefusal } from './wire/refusal.ts'

/** What is said of an act beside who and when. */
export type Details = Readonly<Record<string, string | number | boolean | null>>

/** An act of administration. */
export interface EhsmAct {
  /** Undefined for whoever asks for an account. */
  readonly appId: string | undefined
  readonly action: string
  readonly at: Date
}

/**
 * Does an act and its audit row in one transaction.
 * @param work - Gives its result, and what the row says of it; undefined where nothing changed
 */
export async function administer<T>(
  service: KmsService,
  act: EhsmAct,
  work: (tx: StoreTransaction) => Promise<readonly [T, Details | undefined]>,
): Promise<T> {
  const value = await service.store.write(async tx => {
    const [value, details] = await work(tx)
    if (details !== undefined) await service.audit.append(tx, entryOf(act, 'done', [], details))
    return value
  })
  await service.witness?.note()
  return value
}

/** Audits the refusal of a call whose signature was right. */
export async function auditDenial(
  service: KmsService,
  act: EhsmAct,
  refusal: EhsmRefusal,
): Promise<void> {
  const reasons = [{ code: refusal.denial ?? refusal.code, message: refusal.message }]
  await service.store.write(tx => service.audit.append(tx, entryOf(act, 'denied', reasons, {})))
  await service.witness?.note()
}

function entryOf(
  { action, appId, at }: EhsmAct,
  outcome: AuditEntry['outcome'],
  reasons: AuditEntry['reasons'],
  details: Details,
): AuditEntry {
  const actor = appId === undefined ? 'enrolment' : `ehsm:${appId}`
  return { ...details, at: at.toISOString(), actor, action: `ehsm.${action}`, outcome, reasons }
}
