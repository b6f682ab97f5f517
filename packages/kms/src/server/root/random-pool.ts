import { randomFillSync } from 'node:crypto'

/** Bytes that are asked of the system at once: asking costs as much for these as for a few. */
const POOL_LENGTH = 4096

const pool = Buffer.alloc(POOL_LENGTH)
let used = POOL_LENGTH

/**
 * Random bytes, each given once and then gone from here.
 * @param length - At most 1024
 */
export function pooledRandomBytes(length: number): Buffer {
  if (length > POOL_LENGTH / 4) throw new RangeError(`${length} bytes are too many for the pool`)
  if (used + length > POOL_LENGTH) {
    randomFillSync(pool)
    used = 0
  }
  const given = pool.subarray(used, used + length)
  const bytes = Buffer.from(given)
  given.fill(0)
  used += length
  return bytes
}
