import { createHash } from 'node:crypto'
import { CryptoError } from './errors.ts'

/** Digests that signatures are made over, under the names that OpenSSL has for them. */
export type DigestName = 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'sm3'

/** A digest's length in bytes. */
export const DIGEST_LENGTH: Readonly<Record<DigestName, number>> = {
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
  sm3: 32,
}

/** What is signed: a message, or a message's digest that the caller has made. */
export interface ToSign {
  readonly kind: 'raw' | 'digest'
  readonly bytes: Uint8Array
  readonly digest: DigestName
}

/** The digest to sign: made here, or the caller's where it is as long as it must be. */
export function digestOf({ bytes, digest, kind }: ToSign): Uint8Array {
  if (kind === 'raw') return createHash(digest).update(bytes).digest()
  if (bytes.length === DIGEST_LENGTH[digest]) return bytes
  const wanted = `wanted ${DIGEST_LENGTH[digest]} bytes`
  throw new CryptoError('LENGTH', `a digest of ${digest}: ${wanted}, seen ${bytes.length}`)
}
