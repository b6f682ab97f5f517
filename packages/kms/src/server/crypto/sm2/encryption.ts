import { createHash, timingSafeEqual } from 'node:crypto'
import { CryptoError } from '../errors.ts'
import { encodeSm2Ciphertext, parseSm2Ciphertext, type Sm2Ciphertext } from './ciphertext.ts'
import { bytes32, randomScalar, Sm2Point, Sm2Scalars } from './curve.ts'
import { sm2PublicPoint } from './key.ts'

/** Most bytes that are encrypted at once. */
export const SM2_MAX_PLAINTEXT = 255

/** The mask over the message. @see GB/T 32918.4-2016, section 5.4.3 */
function keyStream(shared: Uint8Array, length: number): Uint8Array {
  const blocks: Uint8Array[] = []
  for (let counter = 1; blocks.length * 32 < length; counter++) {
    const number = Buffer.alloc(4)
    number.writeUInt32BE(counter)
    blocks.push(createHash('sm3').update(shared).update(number).digest())
  }
  return Buffer.concat(blocks).subarray(0, length)
}

function xored(left: Uint8Array, right: Uint8Array): Uint8Array {
  return left.map((byte, at) => byte ^ (right[at] ?? 0))
}

/** What proves a message to be the one that was encrypted. */
function messageHash({ x, y }: Sm2Point, message: Uint8Array): Uint8Array {
  return createHash('sm3').update(bytes32(x)).update(message).update(bytes32(y)).digest()
}

const coordinates = ({ x, y }: Sm2Point) => Buffer.concat([bytes32(x), bytes32(y)])

/**
 * Encrypts to a key. @throws CryptoError LENGTH unless there are 1 to 255 bytes
 * @see GB/T 32918.4-2016, section 6.1
 */
export function sm2Encrypt(privateKey: Uint8Array, plaintext: Uint8Array): Uint8Array {
  if (plaintext.length === 0 || plaintext.length > SM2_MAX_PLAINTEXT) {
    const wanted = `wanted 1 to ${SM2_MAX_PLAINTEXT} bytes`
    throw new CryptoError('LENGTH', `SM2 plaintext: ${wanted}, seen ${plaintext.length}`)
  }
  const to = sm2PublicPoint(privateKey)
  for (;;) {
    const nonce = randomScalar()
    const k = Sm2Scalars.fromBytes(nonce)
    nonce.fill(0)
    const shared = to.multiply(k)
    const mask = keyStream(coordinates(shared), plaintext.length)
    if (mask.every(byte => byte === 0)) continue
    const { x, y } = Sm2Point.BASE.multiply(k)
    const hash = messageHash(shared, plaintext)
    return encodeSm2Ciphertext({ x, y, hash, data: xored(plaintext, mask) })
  }
}

/** Decrypts. @throws CryptoError DECRYPT @see GB/T 32918.4-2016, section 7.1 */
export function sm2Decrypt(privateKey: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const parsed = parseSm2Ciphertext(ciphertext)
  const point = parsed === undefined ? undefined : pointOf(parsed)
  if (parsed === undefined || point === undefined) throw notOfThisKey()
  const shared = point.multiply(Sm2Scalars.fromBytes(privateKey))
  const message = xored(parsed.data, keyStream(coordinates(shared), parsed.data.length))
  if (timingSafeEqual(messageHash(shared, message), parsed.hash)) return message
  message.fill(0)
  throw notOfThisKey()
}

/** Undefined off the curve: a point that is not on it would tell of the private key. */
function pointOf({ x, y }: Sm2Ciphertext): Sm2Point | undefined {
  try {
    const point = Sm2Point.fromAffine({ x, y })
    point.assertValidity()
    return point
  } catch {
    return undefined
  }
}

function notOfThisKey(): CryptoError {
  return new CryptoError('DECRYPT', 'the ciphertext is not of this key')
}
