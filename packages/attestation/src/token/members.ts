import { TokenError } from './errors.ts'

/** An object of JSON. */
export type Members = Readonly<Record<string, unknown>>

/** The last second a `Date` can hold. */
export const MAX_SECONDS = 8.64e12

/** What is missing, or not what it should be. */
export function malformed(what: string): TokenError {
  return new TokenError('FORMAT', `"${what}" is missing or not what it should be`)
}

/** Requires exactly these members. @throws TokenError FORMAT */
export function requireMembers(what: string, value: Members, names: readonly string[]): void {
  const seen = Object.keys(value)
  const odd = seen.find(name => !names.includes(name)) ?? names.find(name => !seen.includes(name))
  if (odd !== undefined) throw malformed(`${odd}" of "${what}`)
}

/** Whether a value is an object, and no list. */
export function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A whole number up to some. @throws TokenError FORMAT */
export function integerOf(what: string, value: unknown, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw malformed(what)
  }
  return value
}

/** One of some texts. @throws TokenError FORMAT */
export function memberOf<Name extends string>(
  what: string,
  value: unknown,
  names: readonly Name[],
): Name {
  const found = names.find(name => name === value)
  if (found === undefined) throw malformed(what)
  return found
}

/** A list of texts. @throws TokenError FORMAT */
export function textsOf(what: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw malformed(what)
  return value.map((text: unknown) => {
    if (typeof text !== 'string') throw malformed(what)
    return text
  })
}

/** Bytes of one length in lower-case hexadecimal. */
export function bytesOf(what: string, value: unknown, length: number): Uint8Array {
  if (typeof value !== 'string' || !/^[0-9a-f]*$/.test(value) || value.length !== 2 * length) {
    throw malformed(what)
  }
  return new Uint8Array(Buffer.from(value, 'hex'))
}

/** `undefined` when the text is not canonical base64url without padding. */
export function fromBase64url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? new Uint8Array(bytes) : undefined
}

/** Lower-case hexadecimal. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
