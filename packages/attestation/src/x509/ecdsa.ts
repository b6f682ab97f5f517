import { DerError, DerFields, parseDer, readIntegerBytes, TAG } from './der.ts'

/**
 * An ECDSA signature as certificates and lists bear it, SEQUENCE of two INTEGERs, written as r then
 * s, big-endian, of `size` bytes each; `undefined` when it is no such signature.
 * @see RFC 3279 section 2.2.3
 */
export function rawSignature(der: Uint8Array, size: number): Uint8Array | undefined {
  try {
    const fields = new DerFields(parseDer(der), TAG.sequence, 'signature')
    const raw = new Uint8Array(2 * size)
    for (const end of [size, 2 * size]) {
      const integer = readIntegerBytes(fields.take(TAG.integer))
      const digits = integer[0] === 0 ? integer.subarray(1) : integer
      // Of a negative number the first bit is set, and no zero stands before it.
      if (digits === integer && (integer[0] ?? 0) >= 0x80) return undefined
      if (digits.length > size) return undefined
      raw.set(digits, end - digits.length)
    }
    fields.done()
    return raw
  } catch (error) {
    if (error instanceof DerError) return undefined
    throw error
  }
}
