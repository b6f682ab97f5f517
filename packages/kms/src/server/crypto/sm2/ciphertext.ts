/** An SM2 ciphertext: the one-time point, the message's hash (32 bytes), and the masked message. */
export interface Sm2Ciphertext {
  readonly x: bigint
  readonly y: bigint
  readonly hash: Uint8Array
  readonly data: Uint8Array
}

const SEQUENCE = 0x30
const INTEGER = 0x02
const OCTET_STRING = 0x04
const HASH_LENGTH = 32

/** DER of SEQUENCE { x INTEGER, y INTEGER, hash OCTET STRING, data OCTET STRING }: GM/T 0009-2012, 7.2 */
export function encodeSm2Ciphertext({ x, y, hash, data }: Sm2Ciphertext): Uint8Array {
  const members = [integer(x), integer(y), tlv(OCTET_STRING, hash), tlv(OCTET_STRING, data)]
  return new Uint8Array(tlv(SEQUENCE, Buffer.concat(members)))
}

/**
 * Reads the one DER form of a ciphertext; undefined where the bytes are anything else.
 */
export function parseSm2Ciphertext(bytes: Uint8Array): Sm2Ciphertext | undefined {
  const outer = read(bytes, SEQUENCE)
  if (outer === undefined) return undefined
  const x = read(outer.value, INTEGER)
  if (x === undefined) return undefined
  const y = read(x.rest, INTEGER)
  if (y === undefined) return undefined
  const hash = read(y.rest, OCTET_STRING)
  if (hash?.value.length !== HASH_LENGTH) return undefined
  const data = read(hash.rest, OCTET_STRING)
  if (data === undefined) return undefined
  const parsed = {
    x: numberOf(x.value),
    y: numberOf(y.value),
    hash: hash.value,
    data: data.value,
  }
  const again = encodeSm2Ciphertext(parsed)
  return Buffer.compare(again, bytes) === 0 ? parsed : undefined
}

function integer(value: bigint): Buffer {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  return tlv(INTEGER, (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), bytes]) : bytes)
}

function tlv(tag: number, value: Uint8Array): Buffer {
  const { length } = value
  if (length < 0x80) return Buffer.concat([Uint8Array.of(tag, length), value])
  const head = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Uint8Array.of(tag, ...head), value])
}

function read(bytes: Uint8Array, tag: number) {
  if (bytes[0] !== tag) return undefined
  const form = bytes[1] ?? 0xff
  const extra = form < 0x80 ? 0 : form - 0x80
  if (extra > 2) return undefined
  const start = 2 + extra
  const number = Buffer.from(bytes.subarray(2, start)).toString('hex')
  const length = extra === 0 ? form : Number.parseInt(number, 16)
  if (!(start + length <= bytes.length)) return undefined
  return { value: bytes.subarray(start, start + length), rest: bytes.subarray(start + length) }
}

/** Empty and negative integers come out as another number, and so re-encode to other bytes. */
function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`)
}
