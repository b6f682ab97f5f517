import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { DIGEST_LENGTH, type DigestName } from './digest.ts'

const TRAILER = 0xbc

/** H in the words of RFC 8017: over eight zero bytes, the digest and the salt. */
function saltedDigest(name: DigestName, digest: Uint8Array, salt: Uint8Array): Uint8Array {
  return createHash(name).update(new Uint8Array(8)).update(digest).update(salt).digest()
}

/** @see RFC 8017, appendix B.2.1 */
function mgf1(name: DigestName, seed: Uint8Array, length: number): Uint8Array {
  const blocks: Uint8Array[] = []
  for (let counter = 0; blocks.length * DIGEST_LENGTH[name] < length; counter++) {
    const number = Buffer.alloc(4)
    number.writeUInt32BE(counter)
    blocks.push(createHash(name).update(seed).update(number).digest())
  }
  return Buffer.concat(blocks).subarray(0, length)
}

/** The mask over DB; the block's top bit is always 0, as it must be below the modulus. */
function masked(bytes: Uint8Array, name: DigestName, seed: Uint8Array): Uint8Array {
  const mask = mgf1(name, seed, bytes.length)
  const result = bytes.map((byte, at) => byte ^ (mask[at] ?? 0))
  result[0] = (result[0] ?? 0) & 0x7f
  return result
}

/**
 * EMSA-PSS over a digest that was made already, which node:crypto does not offer; salt as long as the
 * digest.
 * @see RFC 8017, section 9.1.1
 */
export function encodePss(digest: Uint8Array, name: DigestName, modulusBits: number): Uint8Array {
  const length = DIGEST_LENGTH[name]
  const salt = randomBytes(length)
  const hash = saltedDigest(name, digest, salt)
  const db = Buffer.alloc(modulusBits / 8 - length - 1)
  db[db.length - length - 1] = 1
  salt.copy(db, db.length - length)
  return Buffer.concat([masked(db, name, hash), hash, Uint8Array.of(TRAILER)])
}

/** Whether a block is EMSA-PSS over a digest. @see RFC 8017, section 9.1.2 */
export function isPssOf(block: Uint8Array, digest: Uint8Array, name: DigestName): boolean {
  const length = DIGEST_LENGTH[name]
  const hashAt = block.length - length - 1
  if (block.at(-1) !== TRAILER || (block[0] ?? 0x80) >= 0x80) return false
  const hash = block.subarray(hashAt, hashAt + length)
  const db = masked(block.subarray(0, hashAt), name, hash)
  const saltAt = db.length - length
  const fill = db.subarray(0, saltAt - 1)
  if (fill.some(byte => byte !== 0) || db[saltAt - 1] !== 1) return false
  return timingSafeEqual(hash, saltedDigest(name, digest, db.subarray(saltAt)))
}
