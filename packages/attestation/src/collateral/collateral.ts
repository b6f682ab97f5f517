/** Endorsements for one platform, in the shapes of Intel's PCS. */
export interface Collateral {
  /** PEM, issuer of the PCK certificate first. */
  readonly pckCrlIssuerChain: string
  /** DER. */
  readonly rootCaCrl: Uint8Array
  /** DER, by the CA that issued the PCK certificate. */
  readonly pckCrl: Uint8Array
  /** PEM, signer first. */
  readonly tcbInfoIssuerChain: string
  /** The inner object as it was sent. */
  readonly tcbInfo: string
  /** Raw r||s, 64 bytes. */
  readonly tcbInfoSignature: Uint8Array
  /** PEM, signer first. */
  readonly qeIdentityIssuerChain: string
  /** The inner object as it was sent. */
  readonly qeIdentity: string
  /** Raw r||s, 64 bytes. */
  readonly qeIdentitySignature: Uint8Array
  /**
   * PEM, PCK certificate first: for quotes that hold none (certification data 1 to 4), and in place
   * of the chain of one that does.
   */
  readonly pckCertificateChain?: string
}
