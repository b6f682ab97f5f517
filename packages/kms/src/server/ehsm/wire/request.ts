import { refused } from './refusal.ts'
import { isShallow } from './sign.ts'

/** How far a request's time may be from the server's, in milliseconds. */
export const MAX_SKEW_MS = 600_000

const MAX_NONCE = 64
const TIMESTAMP_LENGTH = 13

/** A request whose form is right; nothing is proven yet. */
export interface SignedRequest {
  readonly appId: string
  /** Told apart from other requests' by this; see {@link nonceIdentity}. */
  readonly nonce: string | undefined
  readonly timestamp: string
  readonly sign: string
  readonly payload: Readonly<Record<string, unknown>> | undefined
  /** What the MAC is over. */
  readonly signed: object
}

/**
 * Reads a request's outer members, in the order in which faults of theirs are told.
 * @param needsPayload - Whether the action is one that cannot do without
 * @param notBefore - Requests of before are refused
 * @throws EhsmRefusal
 * @see docs/ehsm.md, section Signing
 */
export function parseRequest(
  body: unknown,
  needsPayload: boolean,
  now: Date,
  notBefore?: Date,
): SignedRequest {
  const { appid, nonce, payload, sign, timestamp } = membersOf(body)
  const missing = [appid, timestamp, sign, ...(needsPayload ? [payload] : [])].some(isAbsent)
  if (missing) throw refused('Missing required parameters')
  if (
    typeof appid !== 'string' ||
    typeof timestamp !== 'string' ||
    typeof sign !== 'string' ||
    (payload !== undefined && !isRecord(payload)) ||
    !(nonce === undefined || typeof nonce === 'string' || typeof nonce === 'number') ||
    !isShallow(payload)
  ) {
    throw refused('param type error')
  }
  if (String(nonce ?? '').length > MAX_NONCE) throw refused('Nonce length error')
  if (timestamp.length !== TIMESTAMP_LENGTH) throw refused('Timestamp length error')
  const skew = /^\d+$/.test(timestamp) ? Math.abs(now.getTime() - Number(timestamp)) : undefined
  if (skew === undefined || skew >= MAX_SKEW_MS) throw refused('Timestamp error')
  // That it was taken may be forgotten with what came after a backup.
  if (Number(timestamp) < (notBefore?.getTime() ?? 0)) throw refused('Timestamp error')
  const signed = { appid, nonce, payload, timestamp }
  return { appId: appid, nonce: nonceIdentity(nonce), timestamp, sign, payload, signed }
}

/**
 * What of a nonce the MAC cannot be the same without. What is signed leaves an empty nonce out, and
 * escapes nothing: `x&payload=` as the nonce, and `x` with an empty payload, are signed as one text. A
 * request taken must not be good again in such a dress.
 */
function nonceIdentity(nonce: string | number | undefined): string | undefined {
  const [before = ''] = nonce === undefined || nonce === 0 ? [] : String(nonce).split('&', 1)
  return before === '' ? undefined : before
}

function membersOf(body: unknown): Record<string, unknown> {
  const members = isRecord(body) ? body : {}
  const own = (name: string) =>
    Object.hasOwn(members, name) ? (members[name] ?? undefined) : undefined
  return {
    appid: own('appid'),
    nonce: own('nonce'),
    payload: own('payload'),
    sign: own('sign'),
    timestamp: own('timestamp'),
  }
}

const isAbsent = (value: unknown): boolean => value === undefined || value === ''

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
