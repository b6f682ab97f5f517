import { CollateralError } from '../collateral/errors.ts'
import { type EvaluationNumbers, parseEvaluationNumbers } from '../collateral/evaluation-numbers.ts'
import { parseQeIdentity, type QeIdentity } from '../collateral/qe-identity.ts'
import { openSignedJson } from '../collateral/signed-json.ts'
import { parseTcbInfo, type TcbInfo } from '../collateral/tcb-info.ts'
import type { Certificate } from '../x509/certificate.ts'
import {
  ChainError,
  requireLength,
  verifyChainKnowing,
  verifyCrlKnowing,
  verifyRoot,
} from '../x509/chain.ts'
import { type CertificateRevocationList, parseCrl } from '../x509/crl.ts'
import { Known } from '../x509/known.ts'
import { type PckExtension, parsePckExtension } from '../x509/pck.ts'
import type { Issued } from './claims.ts'
import {
  CA_CHAIN,
  graceMsOf,
  type Instant,
  PCK_CHAIN,
  requireInDate,
  requireSigner,
} from './documents.ts'
import { EvidenceError } from './errors.ts'
import { type QuoteRoot, quoteRootOf, type TrustRoot } from './roots.ts'

/** What a single document is judged by. */
export interface SingleDocumentOptions {
  readonly roots: readonly TrustRoot[]
  /** The instant to judge at. */
  readonly at: Date
  /** As of `verifyEvidence`; 0 unless told. */
  readonly collateralGraceDays?: number
}

/** Documents that services hand out as `{"<member>":{…},"signature":"…"}`. */
export interface SignedDocuments {
  readonly tcbInfo: TcbInfo
  readonly enclaveIdentity: QeIdentity
  readonly tcbEvaluationDataNumbers: EvaluationNumbers
}

/** A PCK certificate that verified. */
export interface VerifiedPck {
  readonly extension: PckExtension
  /** Which of the vendor's CAs issued it. */
  readonly ca: 'platform' | 'processor'
  readonly notAfter: Date
}

const PARSERS: { readonly [M in keyof SignedDocuments]: (json: never) => SignedDocuments[M] } = {
  tcbInfo: parseTcbInfo,
  enclaveIdentity: parseQeIdentity,
  tcbEvaluationDataNumbers: parseEvaluationNumbers,
}

/**
 * Verifies one signed document: chain up to a pinned root, no certificate in it revoked, signer,
 * signature over the exact text, dates; and parses it.
 * @param given - `text`: the inner object as it was sent; `chain`: PEM, signer first; `rootCaCrl`: DER
 * @throws DerError, ChainError, CollateralError
 * @see Intel PCS API v4
 */
export function verifySignedDocument<M extends keyof SignedDocuments>(
  member: M,
  given: {
    readonly text: string
    readonly signature: Uint8Array
    readonly chain: string
    readonly rootCaCrl: Uint8Array
  },
  options: SingleDocumentOptions,
): SignedDocuments[M] {
  const { known, root, chain, instant } = begin(given.chain, options)
  const crls = [parseCrl(new Uint8Array(given.rootCaCrl))]
  const path = { chain, roots: [root.spki], crls, at: instant.at }
  verifyChainKnowing(known, path, instant.graceMs)
  requireSigner(member, chain, root)
  const [signer] = chain
  const key = signer === undefined ? undefined : known.keyOf(signer, 'ES256')
  const json = openSignedJson(member, given.text, given.signature, key)
  const document = PARSERS[member](json as never)
  requireInDate(member, document, instant)
  return document
}

/**
 * Verifies the revocation list of the root: by a pinned root, in date.
 * @param given - `chain`: PEM, the root's certificate, or any chain that ends in it; `crl`: DER
 * @throws DerError, ChainError
 */
export function verifyRootCrl(
  given: { readonly crl: Uint8Array; readonly chain: string },
  options: SingleDocumentOptions,
): Issued {
  const { known, root, chain, instant } = begin(given.chain, options)
  const certificate = chain.at(-1)
  if (certificate !== undefined) {
    verifyRoot(known, certificate, { roots: [root.spki], at: instant.at })
  }
  return inDate(known, parseCrl(new Uint8Array(given.crl)), certificate, instant)
}

/**
 * Verifies the revocation list of a CA that issues PCK certificates: its chain, its signature, dates.
 * @param given - `chain`: PEM, the CA first; `crl`, `rootCaCrl`: DER
 * @throws DerError, ChainError
 */
export function verifyPckCrl(
  given: {
    readonly crl: Uint8Array
    readonly chain: string
    readonly rootCaCrl: Uint8Array
  },
  options: SingleDocumentOptions,
): Issued & Pick<VerifiedPck, 'ca'> {
  const { known, root, chain, instant } = begin(given.chain, options)
  const crls = [parseCrl(new Uint8Array(given.rootCaCrl))]
  verifyChainKnowing(known, { chain, roots: [root.spki], crls, at: instant.at }, instant.graceMs)
  requireLength('issuer of the PCK list', chain, CA_CHAIN)
  const crl = parseCrl(new Uint8Array(given.crl))
  return { ...inDate(known, crl, chain[0], instant), ca: caOf(chain[0]) }
}

/**
 * Verifies a PCK certificate on its own: chain, revocation by both lists, and what it is for.
 * @param given - `chain`: PEM, the PCK certificate first; `pckCrl`, `rootCaCrl`: DER
 * @throws DerError, ChainError; EvidenceError PCK when it is another certificate
 */
export function verifyPckCertificate(
  given: {
    readonly chain: string
    readonly pckCrl: Uint8Array
    readonly rootCaCrl: Uint8Array
  },
  options: SingleDocumentOptions,
): VerifiedPck {
  const { known, root, chain, instant } = begin(given.chain, options)
  const crls = [given.rootCaCrl, given.pckCrl].map(der => parseCrl(new Uint8Array(der)))
  verifyChainKnowing(known, { chain, roots: [root.spki], crls, at: instant.at }, instant.graceMs)
  const [leaf, issuer] = chain
  const name = leaf?.subject.commonName ?? ''
  if (leaf === undefined || leaf.isCa || !name.includes('SGX PCK Certificate')) {
    throw new EvidenceError('PCK', `"${name}" is no PCK certificate`)
  }
  requireLength('PCK chain', chain, PCK_CHAIN)
  return { extension: parsePckExtension(leaf), ca: caOf(issuer), notAfter: leaf.notAfter }
}

function begin(pem: string, { roots, at, collateralGraceDays }: SingleDocumentOptions) {
  const known = new Known()
  const chain = known.readChain(pem)
  const root: QuoteRoot | undefined = quoteRootOf(chain, roots)
  if (root === undefined) {
    throw new ChainError('UNTRUSTED_ROOT', 'the chain leads up to no pinned root')
  }
  const instant: Instant = { at, graceMs: graceMsOf(collateralGraceDays) }
  return { known, root, chain, instant }
}

function inDate(
  known: Known,
  crl: CertificateRevocationList,
  issuer: Certificate | undefined,
  { at, graceMs }: Instant,
): Issued {
  if (issuer === undefined) throw new CollateralError('FORMAT', 'the chain is empty')
  verifyCrlKnowing(known, { crl, issuer, at }, graceMs)
  return { issued: crl.thisUpdate, nextUpdate: crl.nextUpdate }
}

function caOf(issuer: Certificate | undefined): VerifiedPck['ca'] {
  return issuer?.subject.commonName?.includes('Processor CA') === true ? 'processor' : 'platform'
}
