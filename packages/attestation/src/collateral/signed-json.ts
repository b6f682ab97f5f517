import { bytesOfHex } from '../bytes/text.ts'
import type { VerifyingKey } from '../crypto/primitives.ts'
import { CollateralError } from './errors.ts'

const utf8 = new TextEncoder()

/** Most that a signed collateral document may measure, in UTF-16 code units. */
const MAX_DOCUMENT_LENGTH = 1 << 20

/** A JSON object whose members have not been looked at yet. */
export type JsonObject = { readonly [name: string]: unknown }

/**
 * Verifies `signature` over the exact text of a collateral document and only then parses it.
 * @param text - The signed inner object as it was sent, from its `{` to its `}`.
 * @param signature - Raw ECDSA P-256 signature r||s, 64 bytes.
 * @param key - Key of the verified signing certificate; `undefined` when it is not of P-256.
 * @throws CollateralError LIMIT, SIGNATURE, FORMAT
 * @see Intel PCS API v4, "signature" member: ECDSA P-256 with SHA-256 over the object as sent
 */
export function openSignedJson(
  what: string,
  text: string,
  signature: Uint8Array,
  key: VerifyingKey | undefined,
): JsonObject {
  if (text.length > MAX_DOCUMENT_LENGTH) {
    throw new CollateralError(
      'LIMIT',
      `${what}: ${text.length} characters, wanted at most ${MAX_DOCUMENT_LENGTH}`,
    )
  }
  const good = key?.verifies(utf8.encode(text), signature) === true
  if (!good) {
    throw new CollateralError('SIGNATURE', `${what}: the signature does not fit the text`)
  }
  return parseObject(what, text)
}

function parseObject(what: string, text: string): JsonObject {
  let value: unknown
  let again: string | undefined
  try {
    value = JSON.parse(text)
    again = JSON.stringify(value)
  } catch (cause) {
    throw new CollateralError('FORMAT', `${what}: not JSON, or nested too deeply`, { cause })
  }
  // A document that is not its own re-serialisation holds white space or a member twice.
  if (again !== text) {
    throw new CollateralError('FORMAT', `${what}: a member stands twice, or white space between`)
  }
  return asObject(what, value)
}

/** Narrows to an object. @throws CollateralError FORMAT */
export function asObject(what: string, value: unknown): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CollateralError('FORMAT', `${what}: wanted an object`)
  }
  return value as JsonObject
}

/** Narrows to an array. @throws CollateralError FORMAT */
export function asArray(what: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new CollateralError('FORMAT', `${what}: wanted an array`)
  return value
}

/** Narrows to a string. @throws CollateralError FORMAT */
export function asString(what: string, value: unknown): string {
  if (typeof value !== 'string') throw new CollateralError('FORMAT', `${what}: wanted a string`)
  return value
}

/** Narrows to an integer from 0 to `max`. @throws CollateralError FORMAT */
export function asInteger(what: string, value: unknown, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw new CollateralError('FORMAT', `${what}: wanted an integer from 0 to ${max}`)
  }
  return value
}

/** Decodes hex of either case to exactly `size` bytes. @throws CollateralError FORMAT */
export function asHex(what: string, value: unknown, size: number): Uint8Array {
  const text = asString(what, value)
  if (text.length !== size * 2 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new CollateralError('FORMAT', `${what}: wanted ${size * 2} hex digits`)
  }
  return bytesOfHex(text)
}

/** Reads an ISO 8601 instant in UTC, in the one form it has. @throws CollateralError FORMAT */
export function asInstant(what: string, value: unknown): Date {
  const text = asString(what, value)
  const at = new Date(text)
  // A day that is not in the calendar would be taken for one of the next month.
  if (Number.isNaN(at.getTime()) || at.toISOString().replace('.000Z', 'Z') !== text) {
    throw new CollateralError('FORMAT', `${what}: wanted an instant such as 2026-01-31T00:00:00Z`)
  }
  return at
}
