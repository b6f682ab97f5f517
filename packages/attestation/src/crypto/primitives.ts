/** Hashes of the SHA-2 family, named as WebCrypto does. */
export type Hash = 'SHA-256' | 'SHA-384' | 'SHA-512'

/**
 * Algorithms of the vendors' signatures, named as JOSE does: ECDSA P-256 with SHA-256, ECDSA P-384
 * with SHA-384, RSASSA-PSS with SHA-384 and a salt of 48 bytes.
 * @see RFC 7518 section 3.1
 */
export type SignatureAlgorithm = 'ES256' | 'ES384' | 'PS384'

/** A public key, ready to verify with by one algorithm. */
export interface VerifyingKey {
  /**
   * Whether `signature` over `data` is by this key.
   * @param signature - Of ECDSA: r then s, big-endian, each of the curve's size.
   */
  verifies(data: Uint8Array, signature: Uint8Array): boolean
}

/** All that this package asks of an implementation of cryptography, to verify and appraise. */
export interface Primitives {
  /** The digest of parts, one after another. */
  digest(hash: Hash, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer>
  /**
   * Imports a SubjectPublicKeyInfo in DER; `undefined` when it is no key for the algorithm: a point
   * of its curve, or of RSA at least {@link MIN_RSA_BITS}.
   */
  keyFromSpki(spki: Uint8Array, algorithm: SignatureAlgorithm): VerifyingKey | undefined
  /**
   * What a computation gives or throws that asks for the above. It may be made several times, of
   * which the last counts: it has no other effects.
   */
  settled<Value>(work: () => Value): Promise<Value>
}

/** Least size of an RSA key. */
export const MIN_RSA_BITS = 2048
