/** In place of a revocation list: the caller has none, and takes that on itself. */
export const REVOCATION_UNCHECKED = 'revocation-unchecked'

/** Endorsements for one SEV-SNP platform, in the shapes of AMD's key distribution service. */
export interface SnpCollateral {
  /** Certificate of the versioned key that signed the report, VCEK or VLEK; DER. */
  readonly vek: Uint8Array
  /** PEM: ASK or ASVK, then ARK. */
  readonly chain: Uint8Array | string
  /**
   * Revocation list by the ARK, DER. Without one every intermediate that AMD has revoked still
   * verifies; claims then say `unchecked`.
   */
  readonly crl: Uint8Array | typeof REVOCATION_UNCHECKED
}
