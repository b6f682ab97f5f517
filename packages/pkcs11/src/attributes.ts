/** One CK_ATTRIBUTE; a token fills `pValue` where it is asked for it. */
export interface Attribute {
  readonly type: number
  readonly pValue: Uint8Array
  readonly ulValueLen: number
}

/** A CK_BBOOL. */
export const bool = (type: number, value: boolean): Attribute => ({
  type,
  pValue: Uint8Array.of(value ? 1 : 0),
  ulValueLen: 1,
})

/** A CK_ULONG. */
export function ulong(type: number, value: number): Attribute {
  const pValue = Buffer.alloc(8)
  pValue.writeBigUInt64LE(BigInt(value))
  return { type, pValue, ulValueLen: pValue.length }
}

/** A byte array, or a text of UTF-8. */
export const bytes = (type: number, pValue: Uint8Array): Attribute => ({
  type,
  pValue,
  ulValueLen: pValue.length,
})
