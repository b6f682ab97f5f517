import { createHash } from 'node:crypto'
import { bytes32, randomScalar, Sm2Point, Sm2Scalars, Sm2Signature, Z_PARAMETERS } from './curve.ts'
import { sm2PublicPoint } from './key.ts'

/** The user id that everyone takes where none is agreed on. @see GM/T 0009-2012, section 10 */
const USER_ID = Buffer.from('1234567812345678')

/** SM3 over Z and message, as a number: what is signed. @see GB/T 32918.2-2016, sections 5.5, 6.1 */
function messageNumber(point: Sm2Point, message: Uint8Array): bigint {
  const bits = Buffer.alloc(2)
  bits.writeUInt16BE(USER_ID.length * 8)
  const z = createHash('sm3').update(bits).update(USER_ID)
  for (const number of [...Z_PARAMETERS, point.x, point.y]) z.update(bytes32(number))
  const digest = createHash('sm3').update(z.digest()).update(message).digest('hex')
  return Sm2Scalars.create(BigInt(`0x${digest}`))
}

/** Signs a message; the signature is DER. @see GB/T 32918.2-2016, section 6.1 */
export function sm2Sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array {
  const Fn = Sm2Scalars
  const e = messageNumber(sm2PublicPoint(privateKey), message)
  const d = Fn.fromBytes(privateKey)
  for (;;) {
    const nonce = randomScalar()
    const k = Fn.fromBytes(nonce)
    nonce.fill(0)
    const r = Fn.create(e + Sm2Point.BASE.multiply(k).x)
    if (r === 0n || Fn.is0(Fn.add(r, k))) continue
    const s = Fn.mul(Fn.inv(Fn.add(d, 1n)), Fn.sub(k, Fn.mul(r, d)))
    if (s !== 0n) return new Sm2Signature(r, s).toBytes('der')
  }
}

/** Whether a DER signature over a message is of a key. @see GB/T 32918.2-2016, section 7.1 */
export function sm2Verify(
  privateKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const point = sm2PublicPoint(privateKey)
  const parsed = parsedSignature(signature)
  if (parsed === undefined) return false
  const { r, s } = parsed
  const t = Sm2Scalars.add(r, s)
  if (t === 0n) return false
  const sum = Sm2Point.BASE.multiplyUnsafe(s).add(point.multiplyUnsafe(t))
  if (sum.is0()) return false
  return Sm2Scalars.create(messageNumber(point, message) + sum.x) === r
}

/** Undefined for what is no DER of two integers from 1 to the order less 1. */
function parsedSignature(signature: Uint8Array) {
  try {
    return Sm2Signature.fromBytes(signature, 'der')
  } catch {
    return undefined
  }
}
