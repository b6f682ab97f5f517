import {
  CodedError as AttestationError,
  TokenError,
  type TokenErrorCode,
} from '@cloister/attestation'
import { CodedError as SealedError } from '@cloister/sealed'
import { KmsError, type KmsErrorCode, type KmsReason } from '../protocol/errors.ts'
import { AccountError } from './accounts/index.ts'
import { type AuditEntry, AuditError } from './audit/index.ts'
import { KeyError } from './keys/index.ts'
import { PolicyError } from './policy/index.ts'
import type { KmsService } from './service.ts'
import { HeadError, StoreError, type StoreTransaction } from './store/index.ts'

/** Who does what, for the audit log; `details` grow while the act is decided. */
export interface Act {
  readonly actor: string
  readonly action: string
  readonly details: Record<string, AuditDetail>
}

/** What an audit row may say beside its fixed members. */
type AuditDetail =
  | string
  | number
  | boolean
  | null
  | readonly AuditDetail[]
  | { readonly [name: string]: AuditDetail }

/** What an act comes to, with its row's place in the audit log. */
export interface Done<T> {
  readonly value: T
  readonly auditIndex: number
}

/**
 * Does an act in one transaction, its audit row included. When it is refused, everything it did is
 * taken back and the denial is audited with all its reasons, before anyone is told.
 * @param append - Called with the row's index inside the transaction, for what needs the row there.
 */
export async function perform<T>(
  service: KmsService,
  act: Act,
  outcome: AuditEntry['outcome'],
  at: Date,
  work: (tx: StoreTransaction) => Promise<T>,
): Promise<Done<T>> {
  const done = await attempt(service, act, outcome, at, work)
  await service.witness?.note()
  return done
}

async function attempt<T>(
  service: KmsService,
  act: Act,
  outcome: AuditEntry['outcome'],
  at: Date,
  work: (tx: StoreTransaction) => Promise<T>,
): Promise<Done<T>> {
  const before = { ...act.details }
  try {
    return await service.store.write(async tx => {
      // It may be run again, by another state: what it noted before is of no account.
      for (const name of Object.keys(act.details)) delete act.details[name]
      Object.assign(act.details, before)
      const value = await work(tx)
      const { index } = await service.audit.append(tx, entryOf(act, outcome, at, []))
      return { value, auditIndex: index }
    })
  } catch (error) {
    throw await denied(service, act, at, error)
  }
}

/**
 * Does an act of the service's own that may turn out to be done already, by another replica: then
 * `work` gives undefined, and the log says nothing.
 */
export async function performIfDue<T>(
  service: KmsService,
  act: Act,
  at: Date,
  work: (tx: StoreTransaction) => Promise<T | undefined>,
): Promise<T | undefined> {
  const value = await service.store.write(async tx => {
    const done = await work(tx)
    if (done !== undefined) await service.audit.append(tx, entryOf(act, 'done', at, []))
    return done
  })
  if (value !== undefined) await service.witness?.note()
  return value
}

/** Refusals that the log tells of, or that are counted: of somebody who is known, or not. */
const recorded = new WeakMap<KmsError, 'known' | 'unproven'>()

/** Whether a refusal is of somebody who proved to be known. */
export const wasProven = (refusal: KmsError): boolean => recorded.get(refusal) === 'known'

/**
 * Counts a denial of whoever proved nothing, unless the log tells of it already, and gives the
 * refusal to answer with. Anybody can cause these: they take no room in the log but a sample's.
 */
export function deniedUnproven(service: KmsService, action: string, error: unknown): KmsError {
  const refusal = refusalFrom(error)
  if (refusal.status >= 500 || recorded.has(refusal)) return refusal
  service.tally.denied({ action, reasons: plainReasons(refusal) })
  recorded.set(refusal, 'unproven')
  return refusal
}

/** Audits a denial of somebody who is known, and gives the refusal to answer with. */
export async function denied(
  service: KmsService,
  act: Act,
  at: Date,
  error: unknown,
): Promise<KmsError> {
  const refusal = refusalFrom(error)
  // Where the store itself is in doubt or broken there is no log to write to.
  if (refusal.status >= 500) return refusal
  const entry = entryOf(act, 'denied', at, plainReasons(refusal))
  await service.store.write(tx => service.audit.append(tx, entry))
  await service.witness?.note()
  recorded.set(refusal, 'known')
  return refusal
}

function entryOf(
  { actor, action, details }: Act,
  outcome: AuditEntry['outcome'],
  at: Date,
  reasons: readonly KmsReason[],
): AuditEntry {
  return { ...details, at: at.toISOString(), actor, action, outcome, reasons }
}

function plainReasons({ code, message, reasons }: KmsError): readonly [KmsReason, ...KmsReason[]] {
  const plain = reasons.map(({ code, message, policyId, wanted, seen }) => ({
    code,
    message,
    ...(policyId === undefined ? {} : { policyId }),
    ...(wanted === undefined ? {} : { wanted }),
    ...(seen === undefined ? {} : { seen }),
  }))
  return [{ code, message }, ...plain]
}

/** The refusal that an error of the inner parts is told as; what is unknown is told as INTERNAL. */
export function refusalFrom(error: unknown): KmsError {
  if (error instanceof KmsError) return error
  const options = { cause: error }
  if (error instanceof KeyError) {
    return new KmsError(KEY_CODES[error.code], error.message, options)
  }
  if (error instanceof HeadError) {
    const code = error.code === 'HEAD_OWNER' ? 'NOT_OWNER' : 'HEAD_CONFLICT'
    const reasons = [{ code: error.code, message: error.message, seen: placeOf(error.seen) }]
    return new KmsError(code, error.message, { ...options, reasons })
  }
  if (error instanceof AccountError) {
    const reasons = [{ code: error.code, message: error.message }]
    return new KmsError(ACCOUNT_CODES[error.code], error.message, { ...options, reasons })
  }
  if (error instanceof PolicyError) {
    return new KmsError(POLICY_CODES[error.code], error.message, options)
  }
  if (error instanceof TokenError) {
    const code = error.code === 'EXPIRED' ? 'TOKEN_EXPIRED' : 'TOKEN_INVALID'
    const reasons = [
      { code: `TOKEN_${error.code satisfies TokenErrorCode}`, message: error.message },
    ]
    return new KmsError(code, 'the token is not accepted', { ...options, reasons })
  }
  if (error instanceof AuditError) {
    return error.code === 'LOG_TAMPERED'
      ? new KmsError('INTEGRITY', 'the audit log was altered behind the key service’s back', {
          ...options,
          reasons: [{ code: error.code, message: error.message }],
        })
      : new KmsError('MALFORMED', error.message, options)
  }
  if (error instanceof StoreError) {
    return error.code === 'ROW_MAC'
      ? new KmsError('INTEGRITY', 'stored data was altered behind the key service’s back', options)
      : new KmsError('UNAVAILABLE', 'the store cannot be used', options)
  }
  if (error instanceof AttestationError) {
    const reasons = [{ code: error.code, message: error.message }]
    return new KmsError('EVIDENCE_INVALID', 'the evidence does not verify', { ...options, reasons })
  }
  if (error instanceof SealedError) return new KmsError('MALFORMED', error.message, options)
  return new KmsError('INTERNAL', 'the key service failed; its log says why', options)
}

const KEY_CODES: Readonly<Record<KeyError['code'], KmsErrorCode>> = {
  KEY_NOT_FOUND: 'NOT_FOUND',
  KEY_DISABLED: 'KEY_DISABLED',
  KEY_STATE: 'KEY_STATE',
  KEY_MODE: 'KEY_ATTESTED_ONLY',
  KEY_USAGE: 'KEY_USAGE',
  KEY_VERSION: 'SLOT_INVALID',
  UNWRAP: 'SLOT_INVALID',
  CIPHERTEXT: 'CIPHERTEXT_INVALID',
  GRANT: 'INTERNAL',
  ALIAS: 'MALFORMED',
  ALIAS_TAKEN: 'ALIAS_TAKEN',
  ALIAS_NOT_FOUND: 'NOT_FOUND',
  IMPORT_TOKEN: 'IMPORT_TOKEN',
  IMPORT_MATERIAL: 'IMPORT_MATERIAL',
  LIMIT: 'LIMIT',
}

const ACCOUNT_CODES: Readonly<Record<AccountError['code'], KmsErrorCode>> = {
  NOT_FOUND: 'NOT_FOUND',
  MORE_THAN_OWN: 'NOT_ALLOWED',
  CERTIFICATE: 'NOT_ALLOWED',
  STATE: 'NOT_ALLOWED',
  TOO_MANY: 'LIMIT',
  NOT_ADMINISTRATOR: 'NOT_ALLOWED',
}

const POLICY_CODES: Readonly<Record<PolicyError['code'], KmsErrorCode>> = {
  POLICY_INVALID: 'MALFORMED',
  POLICY_NOT_FOUND: 'NOT_FOUND',
  BUSY: 'UNAVAILABLE',
  TOO_MANY_POLICIES: 'LIMIT',
  WITHDRAWAL_NOT_FOUND: 'NOT_FOUND',
}

function placeOf(head: { version: number; manifestDigest: string } | undefined): string {
  return head === undefined ? 'no head' : `version ${head.version} (${head.manifestDigest})`
}
