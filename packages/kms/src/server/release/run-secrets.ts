import { createHmac } from 'node:crypto'
import { encodeLengthPrefixed, fromHex } from '../../protocol/encoding.ts'
import { Secret } from '../root/index.ts'

const LABEL = 'cloister attest-release v1 run secret'

/**
 * Secrets that the instances of one run of a job have in common. Nothing is stored: the same job and
 * run id give the same secret for as long as the root key is the same.
 */
export class RunSecrets {
  readonly #kmsId: string
  readonly #key: Secret

  /** @param key - 32 bytes, derived from the root key for this alone. */
  constructor(kmsId: string, key: Secret) {
    this.#kmsId = kmsId
    this.#key = key
  }

  /** The 32-byte secret of a run: HMAC-SHA-256 over label, key service, job and run id. */
  of(jobDigest: Uint8Array, runId: string): Secret {
    const label = new TextEncoder().encode(LABEL)
    const parts = [label, fromHex('KMS id', this.#kmsId), jobDigest, fromHex('run id', runId)]
    const message = encodeLengthPrefixed(parts)
    const bytes = this.#key.with(key => createHmac('sha256', key).update(message).digest())
    const secret = Secret.from(bytes)
    bytes.fill(0)
    return secret
  }
}
