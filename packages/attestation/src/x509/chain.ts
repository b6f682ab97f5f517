import { CodedError } from '../errors.ts'
import type { Certificate } from './certificate.ts'
import type { CertificateRevocationList } from './crl.ts'
import { sameBytes } from './der.ts'
import { Known } from './known.ts'

/** Why a chain or a revocation list was refused. */
export const CHAIN_ERROR_CODES = [
  'UNTRUSTED_ROOT',
  'SIGNATURE',
  'EXPIRED',
  'NOT_YET_VALID',
  'NAME',
  'NOT_A_CA',
  'REVOKED',
  'CRL_EXPIRED',
  'CRL_SIGNATURE',
  'CRL_ISSUER',
  'LENGTH',
] as const

/** Why a chain or a revocation list was refused. */
export type ChainErrorCode = (typeof CHAIN_ERROR_CODES)[number]

/** A chain or a revocation list that does not verify. */
export class ChainError extends CodedError<ChainErrorCode> {}

const MAX_CHAIN = 10

/** What `verifyChain` needs; every field is required, so that no check is left out by omission. */
export interface VerifyChainOptions {
  /** Leaf first, each signed by the next, the self-signed root last. */
  readonly chain: readonly Certificate[]
  /** SubjectPublicKeyInfo (DER) of each trusted root. */
  readonly roots: readonly Uint8Array[]
  /** Revocation lists; each certificate below the root needs one by its issuer. */
  readonly crls: readonly CertificateRevocationList[]
  /** The time to judge at. */
  readonly at: Date
}

/** What `verifyCrl` needs. */
export interface VerifyCrlOptions {
  readonly crl: CertificateRevocationList
  /** The issuer's certificate, already verified by the caller. */
  readonly issuer: Certificate
  /** The time to judge at. */
  readonly at: Date
}

/**
 * Verifies a whole chain: pinned root, names, CA flags and path lengths, signatures,
 * validity at `at`, and that no certificate below the root is revoked. A certificate with no
 * revocation list by its issuer is refused (`CRL_ISSUER`).
 *
 * @throws ChainError with the reason.
 */
export function verifyChain(options: VerifyChainOptions): void {
  verifyChainKnowing(new Known(), options)
}

/**
 * {@link verifyChain}, where some of the signatures may have been verified already.
 * @param graceMs - How long after its end a revocation list still serves.
 */
export function verifyChainKnowing(known: Known, options: VerifyChainOptions, graceMs = 0): void {
  const { crls, at } = options
  verifyPath(known, options, (certificate, issuer) => {
    checkRevocation(known, certificate, issuer, { crls, at, graceMs })
  })
}

/**
 * A chain without its revocation, which `inspect` sees to: it is called for each certificate below
 * the root, with its verified issuer.
 */
export function verifyPath(
  known: Known,
  { chain, roots, at }: Omit<VerifyChainOptions, 'crls'>,
  inspect: (certificate: Certificate, issuer: Certificate) => void,
): void {
  const root = chain.at(-1)
  if (root === undefined || chain.length < 2 || chain.length > MAX_CHAIN) {
    throw new ChainError('LENGTH', `chain has ${chain.length} certificates, not 2 to ${MAX_CHAIN}`)
  }
  requirePinned(root, roots)
  // From the root down, so that every key is trusted before it is used.
  for (let i = chain.length - 1; i >= 0; i--) {
    const certificate = chain[i]
    const issuer = chain[i + 1] ?? root
    if (certificate === undefined) continue
    checkIssued(known, certificate, issuer)
    if (i > 0) checkAuthority(certificate, i - 1)
    checkValidity(certificate, at)
    if (certificate !== root) inspect(certificate, issuer)
  }
}

/**
 * Requires a chain to have as many certificates as the vendor's have, the root's among them: a longer
 * one would let a CA that is for something else vouch for it.
 * @throws ChainError LENGTH
 */
export function requireLength(what: string, chain: readonly Certificate[], wanted: number): void {
  if (chain.length === wanted) return
  throw new ChainError('LENGTH', `${what}: wanted ${wanted} certificates, saw ${chain.length}`)
}

/**
 * A root's certificate on its own: pinned, self-signed, and valid at `at`.
 *
 * @throws ChainError with the reason.
 */
export function verifyRoot(
  known: Known,
  root: Certificate,
  { roots, at }: Pick<VerifyChainOptions, 'roots' | 'at'>,
): void {
  requirePinned(root, roots)
  checkIssued(known, root, root)
  checkValidity(root, at)
}

function requirePinned(root: Certificate, roots: readonly Uint8Array[]): void {
  if (!roots.some(spki => sameBytes(spki, root.spki))) {
    throw new ChainError('UNTRUSTED_ROOT', `${label(root)} is not a trusted root`)
  }
}

function checkIssued(known: Known, certificate: Certificate, issuer: Certificate): void {
  if (!sameBytes(certificate.issuer.raw, issuer.subject.raw)) {
    throw new ChainError('NAME', `${label(certificate)} was not issued by ${label(issuer)}`)
  }
  if (!known.isSigned(certificate, issuer)) {
    throw new ChainError('SIGNATURE', `${label(certificate)} is not signed by ${label(issuer)}`)
  }
}

function checkAuthority(certificate: Certificate, below: number): void {
  if (!certificate.isCa || certificate.keyUsage?.has('keyCertSign') !== true) {
    throw new ChainError('NOT_A_CA', `${label(certificate)} may not sign certificates`)
  }
  if (certificate.pathLen !== undefined && below > certificate.pathLen) {
    throw new ChainError('LENGTH', `${label(certificate)} allows ${certificate.pathLen} CAs below`)
  }
}

function checkValidity(certificate: Certificate, at: Date): void {
  // Written so that an invalid `at` (NaN) is refused.
  if (!(at.getTime() >= certificate.notBefore.getTime())) {
    throw new ChainError('NOT_YET_VALID', `${label(certificate)} is not valid yet`)
  }
  if (!(at.getTime() <= certificate.notAfter.getTime())) {
    throw new ChainError('EXPIRED', `${label(certificate)} has expired`)
  }
}

function checkRevocation(
  known: Known,
  certificate: Certificate,
  issuer: Certificate,
  { crls, at, graceMs }: Pick<VerifyChainOptions, 'crls' | 'at'> & { readonly graceMs: number },
): void {
  const own = crls.filter(crl => sameBytes(crl.issuer.raw, issuer.subject.raw))
  if (own.length === 0) {
    throw new ChainError('CRL_ISSUER', `no revocation list by ${label(issuer)}`)
  }
  for (const crl of own) {
    verifyCrlKnowing(known, { crl, issuer, at }, graceMs)
    if (isRevoked(crl, certificate)) {
      throw new ChainError('REVOKED', `${label(certificate)} is revoked`)
    }
  }
}

/**
 * Verifies a revocation list against its issuer's certificate: name, `cRLSign`, signature and
 * `thisUpdate <= at <= nextUpdate`. The issuer itself must already be verified.
 *
 * @throws ChainError with the reason.
 */
export function verifyCrl(options: VerifyCrlOptions): void {
  verifyCrlKnowing(new Known(), options)
}

/** {@link verifyCrl}, where its signature may have been verified already. */
export function verifyCrlKnowing(
  known: Known,
  { crl, issuer, at }: VerifyCrlOptions,
  graceMs = 0,
): void {
  if (!sameBytes(crl.issuer.raw, issuer.subject.raw)) {
    throw new ChainError('CRL_ISSUER', `the revocation list is not by ${label(issuer)}`)
  }
  if (!issuer.isCa || issuer.keyUsage?.has('cRLSign') !== true) {
    throw new ChainError('CRL_ISSUER', `${label(issuer)} may not sign revocation lists`)
  }
  if (!known.isSigned(crl, issuer)) {
    throw new ChainError('CRL_SIGNATURE', `the revocation list is not signed by ${label(issuer)}`)
  }
  if (!(at.getTime() >= crl.thisUpdate.getTime())) {
    throw new ChainError('NOT_YET_VALID', `the revocation list of ${label(issuer)} is too new`)
  }
  if (!(at.getTime() <= crl.nextUpdate.getTime() + graceMs)) {
    throw new ChainError('CRL_EXPIRED', `the revocation list of ${label(issuer)} has expired`)
  }
}

/** Whether a list names a certificate's serial; verify the list, and that it is by its issuer. */
export function isRevoked(crl: CertificateRevocationList, certificate: Certificate): boolean {
  return crl.revoked.has(certificate.serial)
}

function label({ subject, serial }: Certificate): string {
  return JSON.stringify(subject.commonName ?? `certificate ${serial}`)
}
