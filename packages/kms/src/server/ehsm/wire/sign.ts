import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto'

/** Deepest nesting of what is signed; deeper than any action's payload. */
export const MAX_DEPTH = 16

/**
 * The text that a request's MAC is over: members in the order of their names, those without a value
 * left out, `name=value` joined by `&` as they stand. Nothing is escaped, so that a value with `&` in
 * it reads as two members; a client signs its own requests only.
 * @param value - Parsed JSON, nested at most {@link MAX_DEPTH} deep
 */
export function stringToSign(value: object): string {
  let text = ''
  // Every signed request goes through here: one string, and no list but that of the names.
  const members = value as Readonly<Record<string, unknown>>
  for (const name of Object.keys(members).sort()) {
    const member = members[name]
    if (!isThere(member)) continue
    const between = text === '' ? '' : '&'
    text += `${between}${name}=${isObject(member) ? stringToSign(member) : String(member)}`
  }
  return text
}

/** As JavaScript's loose `!= ''` judges, which is what the first server did: 0 and false are not. */
function isThere(value: unknown): boolean {
  if (Array.isArray(value)) return !isEmptyText(value)
  return value !== null && value !== undefined && value !== '' && value !== 0 && value !== false
}

/** Whether an array's text is empty; never made, as members of what is in it may be called `toString`. */
function isEmptyText(value: unknown): boolean {
  if (!Array.isArray(value)) return value === null || value === undefined || value === ''
  return value.length === 0 || (value.length === 1 && isEmptyText(value[0]))
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Base64 of HMAC-SHA256 over {@link stringToSign}, with the API key's own characters as the key. */
export function signatureOf(apiKey: Uint8Array | KeyObject, value: object): string {
  return createHmac('sha256', apiKey).update(stringToSign(value), 'utf8').digest('base64')
}

/** Compares a signature in the same time wherever it differs. */
export function isSignatureOf(
  apiKey: Uint8Array | KeyObject,
  value: object,
  sign: string,
): boolean {
  const wanted = Buffer.from(signatureOf(apiKey, value))
  const seen = Buffer.from(sign)
  return wanted.length === seen.length && timingSafeEqual(wanted, seen)
}

/** Whether parsed JSON nests at most `depth` deep. */
export function isShallow(value: unknown, depth: number = MAX_DEPTH): boolean {
  if (!isObject(value)) return true
  return depth > 0 && Object.values(value).every(member => isShallow(member, depth - 1))
}
