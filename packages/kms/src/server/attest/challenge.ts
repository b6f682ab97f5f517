import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import {
  encodeLengthPrefixed,
  fromBase64Url,
  fromHex,
  toBase64Url,
} from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import type { Secret } from '../root/index.ts'

/** Milliseconds that a challenge lasts. */
export const CHALLENGE_LIFE_MS = 5 * 60 * 1000

/** How far the clocks of two replicas may be apart: one verifies what the other issued. */
const CLOCK_TOLERANCE_MS = 1000

const VERSION = 1
const LABEL = 'cloister attest-release v1 challenge'

// Version (1), the first bytes of the KMS id (8), milliseconds since 1970 big-endian (7), random (16).
const KMS_AT = 1
const TIME_AT = 9
const RANDOM_AT = 16
const MAC_AT = 32
const LENGTH = 64

/** Makes and verifies challenges of one key service. Nothing is stored until evidence verified. */
export class Challenges {
  readonly #kmsId: Uint8Array
  readonly #key: Secret
  readonly #notBefore: number

  /**
   * @param key - 32 bytes, for this purpose only.
   * @param notBefore - Challenges of before are refused, as if they had expired.
   */
  constructor(kmsId: string, key: Secret, notBefore?: Date) {
    this.#kmsId = fromHex('KMS id', kmsId)
    this.#key = key
    this.#notBefore = notBefore?.getTime() ?? 0
  }

  /** Makes a challenge, 64 bytes in base64url. */
  issue(at: Date): string {
    const challenge = Buffer.alloc(LENGTH)
    challenge[0] = VERSION
    // Eight bytes, of which the first is zero and makes room for the KMS id's last.
    challenge.writeBigUInt64BE(BigInt(at.getTime()), RANDOM_AT - 8)
    challenge.set(this.#kmsId.subarray(0, TIME_AT - KMS_AT), KMS_AT)
    challenge.set(randomBytes(MAC_AT - RANDOM_AT), RANDOM_AT)
    challenge.set(this.#mac(challenge.subarray(0, MAC_AT)), MAC_AT)
    return toBase64Url(challenge)
  }

  /**
   * Verifies that a challenge is this key service's and young enough.
   * @returns when it ends
   * @throws KmsError CHALLENGE_INVALID, CHALLENGE_EXPIRED
   */
  verify(text: string, at: Date): { readonly bytes: Uint8Array; readonly expiresAt: Date } {
    const bytes = fromBase64Url('challenge', text)
    if (bytes.length !== LENGTH || bytes[0] !== VERSION) {
      throw new KmsError('CHALLENGE_INVALID', 'this is no challenge')
    }
    const kms = bytes.subarray(KMS_AT, TIME_AT)
    if (!timingSafeEqual(kms, this.#kmsId.subarray(0, kms.length))) {
      throw new KmsError('CHALLENGE_INVALID', 'the challenge is of another key service', {
        reasons: [
          {
            code: 'KMS_ID',
            message: 'the challenge names another key service',
            wanted: Buffer.from(this.#kmsId.subarray(0, kms.length)).toString('hex'),
            seen: Buffer.from(kms).toString('hex'),
          },
        ],
      })
    }
    if (!timingSafeEqual(this.#mac(bytes.subarray(0, MAC_AT)), bytes.subarray(MAC_AT))) {
      throw new KmsError('CHALLENGE_INVALID', 'the challenge is not authentic')
    }
    const issued = Number(Buffer.from(bytes).readBigUInt64BE(RANDOM_AT - 8) & 0xffffffffffffffn)
    const expires = issued + CHALLENGE_LIFE_MS
    const isOfTime = at.getTime() < expires && at.getTime() >= issued - CLOCK_TOLERANCE_MS
    if (!isOfTime || issued < this.#notBefore) {
      throw new KmsError('CHALLENGE_EXPIRED', 'the challenge is not of the last five minutes', {
        reasons: [
          {
            code: 'CHALLENGE_AGE',
            message: 'a challenge lasts five minutes',
            wanted: `before ${new Date(expires).toISOString()}`,
            seen: at.toISOString(),
          },
        ],
      })
    }
    return { bytes, expiresAt: new Date(expires) }
  }

  #mac(head: Uint8Array): Uint8Array {
    const message = encodeLengthPrefixed([Buffer.from(LABEL), this.#kmsId, head])
    return this.#key.with(key => createHmac('sha256', key).update(message).digest())
  }
}
