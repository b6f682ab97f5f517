import { createHash } from 'node:crypto'
import { canonicalJson as canonicalJsonOf } from '@cloister/sealed'
import { KmsError } from './errors.ts'

/** Base64url without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}

/**
 * Decodes base64url without padding; only the canonical spelling is taken.
 * @param what - Name of the field, for the message.
 * @throws KmsError MALFORMED
 */
export function fromBase64Url(what: string, text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.toString('base64url') !== text) {
    throw new KmsError('MALFORMED', `${what} is not base64url without padding`)
  }
  return new Uint8Array(bytes)
}

/** Lower-case hexadecimal digits. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/**
 * Decodes lower-case hexadecimal digits.
 * @param what - Name of the field, for the message.
 * @throws KmsError MALFORMED
 */
export function fromHex(what: string, text: string): Uint8Array {
  const bytes = Buffer.from(text, 'hex')
  if (bytes.toString('hex') !== text) {
    throw new KmsError('MALFORMED', `${what} is not lower-case hexadecimal`)
  }
  return new Uint8Array(bytes)
}

/** SHA-256, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest())
}

/**
 * The JSON text of a value as RFC 8785 has it.
 * @throws KmsError MALFORMED when it is not JSON, or a string in it is no well-formed Unicode
 * @see RFC 8785
 */
export function canonicalJson(value: unknown): string {
  try {
    return canonicalJsonOf(value)
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new KmsError('MALFORMED', `no canonical JSON: ${cause.message}`, { cause })
  }
}

/** Each part behind its length in four bytes, big-endian: no two lists of parts encode alike. */
export function encodeLengthPrefixed(parts: readonly Uint8Array[]): Uint8Array {
  const encoded = parts.flatMap(part => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(part.length)
    return [length, part]
  })
  return new Uint8Array(Buffer.concat(encoded))
}
