import type { Collateral } from '../collateral/collateral.ts'
import { CollateralError } from '../collateral/errors.ts'
import { parseQeIdentity, type QeIdentity } from '../collateral/qe-identity.ts'
import { openSignedJson } from '../collateral/signed-json.ts'
import { parseTcbInfo, type TcbInfo } from '../collateral/tcb-info.ts'
import type { DocumentFacts } from '../collateral/tcb-level.ts'
import type { Certificate } from '../x509/certificate.ts'
import { requireLength, verifyChainKnowing, verifyCrlKnowing } from '../x509/chain.ts'
import { type CertificateRevocationList, parseCrl } from '../x509/crl.ts'
import type { Known } from '../x509/known.ts'
import { type QuoteRoot, TCB_SIGNERS } from './roots.ts'

/** Certificates in a chain of what the root itself issued: a CA, or a signer of documents. */
export const CA_CHAIN = 2

/** Certificates in the chain of a PCK certificate. */
export const PCK_CHAIN = 3

/** When to judge, and how long after its end a document or list still serves. */
export interface Instant {
  readonly at: Date
  readonly graceMs: number
}

/** Collateral whose certificates and lists have been read. Nothing in it is verified. */
export interface ReadCollateral {
  readonly source: Collateral
  readonly crls: readonly [rootCa: CertificateRevocationList, pck: CertificateRevocationList]
  readonly crlChain: readonly Certificate[]
  readonly tcbInfoChain: readonly Certificate[]
  readonly qeIdentityChain: readonly Certificate[]
}

/** The signed documents of collateral, verified. */
export interface Documents {
  readonly tcbInfo: TcbInfo
  readonly qeIdentity: QeIdentity
}

/** Reads the lists of collateral; the bytes are copied, so that what was verified stays. */
export function readCollateral(source: Collateral, known: Known): ReadCollateral {
  return {
    source,
    crls: [parseCrl(new Uint8Array(source.rootCaCrl)), parseCrl(new Uint8Array(source.pckCrl))],
    crlChain: known.readChain(source.pckCrlIssuerChain),
    tcbInfoChain: known.readChain(source.tcbInfoIssuerChain),
    qeIdentityChain: known.readChain(source.qeIdentityIssuerChain),
  }
}

/**
 * Verifies the chains of collateral up to `root`: CRL issuer and its list, TCB info signer, identity
 * signer.
 */
export function verifyCollateralChains(
  collateral: ReadCollateral,
  root: QuoteRoot,
  known: Known,
  { at, graceMs }: Instant,
): void {
  const { crls, crlChain, tcbInfoChain, qeIdentityChain } = collateral
  const roots = [root.spki]
  verifyChainKnowing(known, { chain: crlChain, roots, crls, at }, graceMs)
  requireLength('issuer of the PCK list', crlChain, CA_CHAIN)
  const [issuer] = crlChain
  if (issuer !== undefined) verifyCrlKnowing(known, { crl: crls[1], issuer, at }, graceMs)
  verifyChainKnowing(known, { chain: tcbInfoChain, roots, crls, at }, graceMs)
  requireSigner('TCB info', tcbInfoChain, root)
  verifyChainKnowing(known, { chain: qeIdentityChain, roots, crls, at }, graceMs)
  requireSigner('QE identity', qeIdentityChain, root)
}

/** The certificate that signs a document, the first of its chain, is the vendor’s for it. */
export function requireSigner(what: string, chain: readonly Certificate[], root: QuoteRoot): void {
  requireLength(what, chain, CA_CHAIN)
  const wanted = TCB_SIGNERS[root.kind]
  const seen = chain[0]?.subject.commonName
  if (seen !== wanted) {
    throw new CollateralError('SIGNER', `${what}: wanted signer "${wanted}", saw "${seen ?? ''}"`)
  }
}

/** Verifies the signatures of the documents by the signers of verified chains, and parses them. */
export function openDocuments(collateral: ReadCollateral, known: Known): Documents {
  const { source, tcbInfoChain, qeIdentityChain } = collateral
  const keyOf = ([signer]: readonly Certificate[]) =>
    signer === undefined ? undefined : known.keyOf(signer, 'ES256')
  return {
    tcbInfo: parseTcbInfo(
      openSignedJson('TCB info', source.tcbInfo, source.tcbInfoSignature, keyOf(tcbInfoChain)),
    ),
    qeIdentity: parseQeIdentity(
      openSignedJson(
        'QE identity',
        source.qeIdentity,
        source.qeIdentitySignature,
        keyOf(qeIdentityChain),
      ),
    ),
  }
}

/** A grace period in milliseconds: none unless told, and none that is negative or no number. */
export function graceMsOf(days = 0): number {
  return days > 0 ? days * 24 * 60 * 60 * 1000 : 0
}

/** A document is of use from its issue until the next is due, or a grace period after. */
export function requireInDate(
  what: string,
  { issueDate, nextUpdate }: Pick<DocumentFacts, 'issueDate' | 'nextUpdate'>,
  { at, graceMs }: Instant,
): void {
  if (!(at.getTime() >= issueDate.getTime())) {
    throw new CollateralError(
      'NOT_YET_VALID',
      `${what}: issued ${issueDate.toISOString()}, judged at ${String(at)}`,
    )
  }
  if (!(at.getTime() <= nextUpdate.getTime() + graceMs)) {
    throw new CollateralError(
      'EXPIRED',
      `${what}: expired ${nextUpdate.toISOString()}, judged at ${at.toISOString()}`,
    )
  }
}
