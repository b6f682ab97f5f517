import { createHash } from 'node:crypto'

/** The certificate of a connection, whose private key the client has shown to hold. */
export interface PresentedCertificate {
  /** Everything that a credential may know it by; names only where a named CA vouches for them. */
  readonly matches: readonly string[]
}

/**
 * Id of the credential that a certificate is by itself. It is made of the match, so that no two
 * credentials can claim the same certificates.
 */
export function certificateCredentialId(match: string): string {
  const label = 'cloister certificate credential v1\n'
  return createHash('sha256').update(label).update(match).digest('hex').slice(0, 32)
}
