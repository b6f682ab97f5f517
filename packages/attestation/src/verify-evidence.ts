import { createHash, createPublicKey, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import { CollateralError } from './collateral/errors.ts'
import { matchQeTcbLevel, parseQeIdentity, type QeIdentity } from './collateral/qe-identity.ts'
import { openSignedJson } from './collateral/signed-json.ts'
import { matchSgxTcbLevel, parseSgxTcbInfo, type SgxTcbInfo } from './collateral/tcb-info.ts'
import { convergeWithQe, type TcbStatus } from './collateral/tcb-status.ts'
import { CodedError, QuoteFormatError } from './errors.ts'
import { parseQuote, type Quote } from './quote/quote.ts'
import { encodeSgxReportBody, type SgxReportBody } from './sgx/report-body.ts'
import { SIM_NAMES } from './sim/names.ts'
import type { Tee } from './tee.ts'
import { type Certificate, parseCertificate } from './x509/certificate.ts'
import { verifyChain } from './x509/chain.ts'
import { type CertificateRevocationList, parseCrl } from './x509/crl.ts'
import { sameBytes } from './x509/der.ts'
import { type PckExtension, parsePckExtension } from './x509/pck.ts'
import { splitPemCertificates } from './x509/pem.ts'
import { publicKeyOf } from './x509/public-keys.ts'

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
}

interface PinnedRoot {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** Vendor id that a quoting enclave under this root bears, 16 bytes. */
  readonly qeVendorId: Uint8Array
}

/** Root of processors; the vendor's own. */
export interface SgxRoot extends PinnedRoot {
  readonly tee: 'sgx'
}

/** Root of simulated platforms. To pin it is to trust whoever holds its key, and no hardware. */
export interface SimRoot extends PinnedRoot {
  readonly tee: 'sim'
}

/**
 * A root that quotes may lead up to, pinned by its public key. Its `tee` becomes the claim of the
 * evidence that verifies under it.
 */
export type TrustRoot = SgxRoot | SimRoot

/** What {@link verifyEvidence} needs; no field is optional, so no check is left out by omission. */
export interface VerifyEvidenceOptions {
  /** SGX quote of version 3. What follows the quote is never interpreted. */
  readonly evidence: Uint8Array
  readonly collateral: Collateral
  readonly roots: readonly TrustRoot[]
  /** The instant to judge at. */
  readonly at: Date
}

declare const brand: unique symbol

/** What a verified quote says, and how its platform stands. Policy is not part of it. */
export interface EvidenceClaims {
  /** Of the pinned root that verified; no field of the evidence says it. */
  readonly tee: Tee
  readonly report: SgxReportBody
  readonly pck: PckExtension
  /** Platform and quoting enclave converged. */
  readonly tcbStatus: TcbStatus
  readonly platformTcbStatus: TcbStatus
  readonly qeTcbStatus: TcbStatus
  /** Union over platform and quoting enclave, sorted. */
  readonly advisoryIds: readonly string[]
  readonly tcbDate: Date
  readonly qeTcbDate: Date
  readonly tcbEvaluationDataNumber: number
  readonly qeTcbEvaluationDataNumber: number
  /** First instant at which a certificate, a list or a document of the input has expired. */
  readonly earliestExpiration: Date
}

/** Claims of evidence whose every signature was checked. Only {@link verifyEvidence} makes one. */
export type VerifiedEvidence = EvidenceClaims & { readonly [brand]: 'VerifiedEvidence' }

/** Evidence that is well formed and does not verify. */
export class EvidenceError extends CodedError<
  | 'QE_VENDOR'
  | 'AMBIGUOUS_ROOT'
  | 'CERTIFICATION_DATA'
  | 'PCK'
  | 'KEY'
  | 'QE_REPORT_SIGNATURE'
  | 'QE_REPORT_DATA'
  | 'QE_IDENTITY'
  | 'QUOTE_SIGNATURE'
  | 'TCB_NOT_SUPPORTED'
> {}

/**
 * Verifies an SGX quote against its collateral. Reads no clock and no network, applies no policy:
 * debug enclaves and old platforms verify, and their claims say so.
 * @throws QuoteFormatError, DerError, ChainError, CollateralError, EvidenceError
 * @see Intel SGX DCAP quote verification; the steps stand in its order
 */
export function verifyEvidence(options: VerifyEvidenceOptions): VerifiedEvidence {
  const { collateral, at } = options
  const quote = parseQuote(options.evidence)
  if (quote.body.kind !== 'enclave') {
    throw new QuoteFormatError('TEE_TYPE', 'wanted a quote of an SGX enclave, saw one of a TD')
  }
  const vendorRoots = rootsOfVendor(options.roots, quote)
  const crls = [parseCrl(collateral.rootCaCrl), parseCrl(collateral.pckCrl)]

  const vendorKeys = vendorRoots.map(root => root.spki)
  const pckChain = verifiedChain('PCK', pckChainOf(quote), vendorKeys, crls, at)
  // One vendor may have several pinned roots; none of them vouches for another's platforms.
  const root = rootOf(pckChain, vendorRoots, options.roots)
  const roots = [root.spki]
  verifiedChain('PCK CRL issuer', parseChain(collateral.pckCrlIssuerChain), roots, crls, at)
  const tcbChain = parseChain(collateral.tcbInfoIssuerChain)
  const tcbInfo = verifiedTcbInfo(collateral, tcbChain, root, crls, at)
  const qeChain = parseChain(collateral.qeIdentityIssuerChain)
  const qeIdentity = verifiedQeIdentity(collateral, qeChain, root, crls, at)

  const leaf = first('PCK', pckChain)
  const pck = pckExtensionOf(leaf)
  requireSamePlatform(pck, tcbInfo)
  verifyQeReport(quote, publicKeyOf(leaf.spki))
  requireQeIdentity(quote.qeReport, qeIdentity)
  verifyQuoteSignature(quote)

  const level = matchSgxTcbLevel(tcbInfo, { components: pck.tcbComponents, pceSvn: pck.pcesvn })
  if (level === undefined) {
    throw new EvidenceError('TCB_NOT_SUPPORTED', 'the platform reaches no published TCB level')
  }
  const qeLevel = matchQeTcbLevel(qeIdentity, quote.qeReport.isvSvn)
  if (qeLevel === undefined) {
    throw new EvidenceError('TCB_NOT_SUPPORTED', 'the quoting enclave reaches no published level')
  }
  const claims: EvidenceClaims = {
    tee: root.tee,
    report: quote.body.report,
    pck,
    tcbStatus: convergeWithQe(level.status, qeLevel.status),
    platformTcbStatus: level.status,
    qeTcbStatus: qeLevel.status,
    advisoryIds: [...new Set([...level.advisoryIds, ...qeLevel.advisoryIds])].sort(),
    tcbDate: level.tcbDate,
    qeTcbDate: qeLevel.tcbDate,
    tcbEvaluationDataNumber: tcbInfo.tcbEvaluationDataNumber,
    qeTcbEvaluationDataNumber: qeIdentity.tcbEvaluationDataNumber,
    earliestExpiration: earliest([
      ...[...pckChain, ...tcbChain, ...qeChain].map(certificate => certificate.notAfter),
      ...crls.map(crl => crl.nextUpdate),
      tcbInfo.nextUpdate,
      qeIdentity.nextUpdate,
    ]),
  }
  return claims as VerifiedEvidence
}

/** The quote's vendor decides which roots may stand behind it, before any certificate is read. */
function rootsOfVendor(roots: readonly TrustRoot[], quote: Quote): readonly TrustRoot[] {
  const fitting = roots.filter(root => sameBytes(root.qeVendorId, quote.header.qeVendorId))
  if (fitting.length === 0) {
    throw new EvidenceError(
      'QE_VENDOR',
      `no pinned root for quotes of vendor ${Buffer.from(quote.header.qeVendorId).toString('hex')}`,
    )
  }
  return fitting
}

/** The pinned root a verified chain ends in. A key pinned for two TEEs would prove neither. */
function rootOf(
  chain: readonly Certificate[],
  vendorRoots: readonly TrustRoot[],
  roots: readonly TrustRoot[],
): TrustRoot {
  const top = chain.at(-1)
  const isTop = ({ spki }: TrustRoot) => top !== undefined && sameBytes(spki, top.spki)
  const root = vendorRoots.find(isTop)
  if (root === undefined || roots.some(other => isTop(other) && other.tee !== root.tee)) {
    throw new EvidenceError('AMBIGUOUS_ROOT', 'the root is pinned for more than one TEE')
  }
  return root
}

function parseChain(pem: string): readonly Certificate[] {
  return splitPemCertificates(new TextEncoder().encode(pem)).map(der => parseCertificate(der))
}

function pckChainOf(quote: Quote): readonly Certificate[] {
  const { certificationData } = quote
  if (certificationData.type !== 5) {
    const { type } = certificationData
    throw new EvidenceError('CERTIFICATION_DATA', `wanted type 5 (PCK chain), saw type ${type}`)
  }
  return splitPemCertificates(certificationData.data).map(der => parseCertificate(der))
}

function verifiedChain(
  what: string,
  chain: readonly Certificate[],
  roots: readonly Uint8Array[],
  crls: readonly CertificateRevocationList[],
  at: Date,
): readonly Certificate[] {
  first(what, chain)
  verifyChain({ chain, roots, crls, at })
  return chain
}

/** Common name of the certificate that signs TCB info and identities. */
const TCB_SIGNERS: Readonly<Record<Tee, string>> = {
  sgx: 'Intel SGX TCB Signing',
  sim: SIM_NAMES.tcbSigning,
}

function verifiedSigner(
  what: string,
  chain: readonly Certificate[],
  root: TrustRoot,
  crls: readonly CertificateRevocationList[],
  at: Date,
): Certificate {
  const signer = first(what, verifiedChain(what, chain, [root.spki], crls, at))
  const wanted = TCB_SIGNERS[root.tee]
  if (signer.subject.commonName !== wanted) {
    throw new CollateralError(
      'SIGNER',
      `${what}: wanted signer "${wanted}", saw "${signer.subject.commonName ?? ''}"`,
    )
  }
  return signer
}

function verifiedTcbInfo(
  collateral: Collateral,
  chain: readonly Certificate[],
  root: TrustRoot,
  crls: readonly CertificateRevocationList[],
  at: Date,
): SgxTcbInfo {
  const signer = verifiedSigner('TCB info', chain, root, crls, at)
  const { tcbInfo, tcbInfoSignature } = collateral
  const info = parseSgxTcbInfo(openSignedJson('TCB info', tcbInfo, tcbInfoSignature, signer.spki))
  requireInDate('TCB info', info, at)
  return info
}

function verifiedQeIdentity(
  collateral: Collateral,
  chain: readonly Certificate[],
  root: TrustRoot,
  crls: readonly CertificateRevocationList[],
  at: Date,
): QeIdentity {
  const signer = verifiedSigner('QE identity', chain, root, crls, at)
  const { qeIdentity, qeIdentitySignature } = collateral
  const identity = parseQeIdentity(
    openSignedJson('QE identity', qeIdentity, qeIdentitySignature, signer.spki),
  )
  requireInDate('QE identity', identity, at)
  return identity
}

function requireInDate(
  what: string,
  { issueDate, nextUpdate }: { readonly issueDate: Date; readonly nextUpdate: Date },
  at: Date,
): void {
  if (!(at.getTime() >= issueDate.getTime())) {
    throw new CollateralError(
      'NOT_YET_VALID',
      `${what}: issued ${issueDate.toISOString()}, judged at ${String(at)}`,
    )
  }
  if (!(at.getTime() <= nextUpdate.getTime())) {
    throw new CollateralError(
      'EXPIRED',
      `${what}: expired ${nextUpdate.toISOString()}, judged at ${at.toISOString()}`,
    )
  }
}

function pckExtensionOf(leaf: Certificate): PckExtension {
  if (leaf.isCa || leaf.subject.commonName?.includes('SGX PCK Certificate') !== true) {
    throw new EvidenceError('PCK', `"${leaf.subject.commonName ?? ''}" is no PCK certificate`)
  }
  return parsePckExtension(leaf)
}

function requireSamePlatform(pck: PckExtension, info: SgxTcbInfo): void {
  if (!sameBytes(pck.fmspc, info.fmspc)) {
    throw new CollateralError(
      'FMSPC',
      `TCB info is of ${hex(info.fmspc)}, the platform of ${hex(pck.fmspc)}`,
    )
  }
  if (!sameBytes(pck.pceid, info.pceId)) {
    throw new CollateralError(
      'PCEID',
      `TCB info is of PCE ${hex(info.pceId)}, the platform of ${hex(pck.pceid)}`,
    )
  }
}

/** The PCK signed the QE's report, and that report binds the attestation key. */
function verifyQeReport(quote: Quote, pckKey: KeyObject): void {
  const { qeReportBytes, qeReportSignature, attestationKey, qeAuthData, qeReport } = quote
  if (!verifyP256(pckKey, qeReportBytes, qeReportSignature)) {
    throw new EvidenceError('QE_REPORT_SIGNATURE', 'the PCK key did not sign the QE report')
  }
  const bound = createHash('sha256').update(attestationKey).update(qeAuthData).digest()
  if (!timingSafeEqual(bound, qeReport.reportData.subarray(0, 32))) {
    throw new EvidenceError('QE_REPORT_DATA', 'the QE report binds another attestation key')
  }
}

function requireQeIdentity(report: SgxReportBody, identity: QeIdentity): void {
  // MISCSELECT stands at 16 and ATTRIBUTES at 48 of the report body, as bytes.
  const body = encodeSgxReportBody(report)
  const seen: [name: string, seen: Uint8Array, wanted: Uint8Array][] = [
    ['MISCSELECT', masked(body.subarray(16, 20), identity.miscSelectMask), identity.miscSelect],
    ['ATTRIBUTES', masked(body.subarray(48, 64), identity.attributesMask), identity.attributes],
    ['MRSIGNER', report.mrSigner, identity.mrSigner],
  ]
  for (const [name, is, wanted] of seen) {
    if (!sameBytes(is, wanted)) {
      throw new EvidenceError('QE_IDENTITY', `QE ${name}: wanted ${hex(wanted)}, saw ${hex(is)}`)
    }
  }
  if (report.isvProdId !== identity.isvProdId) {
    throw new EvidenceError(
      'QE_IDENTITY',
      `QE ISVPRODID: wanted ${identity.isvProdId}, saw ${report.isvProdId}`,
    )
  }
}

function verifyQuoteSignature(quote: Quote): void {
  const key = attestationKeyOf(quote.attestationKey)
  if (!verifyP256(key, quote.signedBytes, quote.signature)) {
    throw new EvidenceError('QUOTE_SIGNATURE', 'the attestation key did not sign the quote')
  }
}

function attestationKeyOf(point: Uint8Array): KeyObject {
  const x = Buffer.from(point.subarray(0, 32)).toString('base64url')
  const y = Buffer.from(point.subarray(32, 64)).toString('base64url')
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' })
  } catch (cause) {
    throw new EvidenceError('KEY', 'the attestation key is no point of P-256', { cause })
  }
}

function verifyP256(key: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  return verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

function masked(bytes: Uint8Array, mask: Uint8Array): Uint8Array {
  return bytes.map((byte, index) => byte & (mask[index] ?? 0xff))
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function earliest(instants: readonly Date[]): Date {
  return new Date(Math.min(...instants.map(instant => instant.getTime())))
}

function first(what: string, chain: readonly Certificate[]): Certificate {
  const [leaf] = chain
  if (leaf === undefined) throw new CollateralError('FORMAT', `${what}: the chain is empty`)
  return leaf
}
