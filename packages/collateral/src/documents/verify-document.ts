import {
  type EvaluationNumbers,
  encodePemCertificates,
  parseCertificate,
  type QeIdentity,
  type SingleDocumentOptions,
  splitPemCertificates,
  type TcbInfo,
  verifyPckCrl,
  verifyRootCrl,
  verifySignedDocument,
} from '@cloister/attestation'
import { UpstreamError } from '../errors.ts'
import { type FmspcEntry, readFmspcs } from './fmspcs.ts'
import type { Edition, IdentityName, PckCa, TcbInfoName } from './name.ts'
import { type PlatformPcks, verifyPlatformPcks } from './platform-pcks.ts'
import { type RawDocument, type SignedPart, signedPartOf } from './raw-document.ts'

/** What is inside a document that verified. */
export type Content =
  | { readonly kind: 'tcbInfo'; readonly document: TcbInfo; readonly part: SignedPart }
  | { readonly kind: 'identity'; readonly document: QeIdentity; readonly part: SignedPart }
  | { readonly kind: 'evaluationNumbers'; readonly document: EvaluationNumbers }
  | { readonly kind: 'crl'; readonly der: Uint8Array }
  | { readonly kind: 'pcks'; readonly pcks: PlatformPcks }
  | { readonly kind: 'fmspcs'; readonly list: readonly FmspcEntry[] }

/** A document that verified up to a pinned root; the lists of FMSPCs, which nobody signs, excepted. */
export interface VerifiedDocument {
  readonly content: Content
  /** Absent where it does not say. */
  readonly issuedAt?: Date
  /** Until when the document itself and the certificates of its chain are valid. */
  readonly endsAt: Date
}

/** The revocation lists that a document is verified with. */
export interface RevocationLists {
  /** DER; wanted for all that is signed but the root's list itself. */
  readonly rootCaCrl?: Uint8Array
  /** DER; wanted for PCK certificates. */
  readonly pckCrl?: Uint8Array
}

/**
 * Verifies a document: its chain up to a pinned root, revocation, signature, dates, and that it is the
 * one that its name says.
 * @throws UpstreamError FORMAT; DerError, ChainError, CollateralError, EvidenceError
 */
export function verifyDocument(
  raw: RawDocument,
  lists: RevocationLists,
  options: SingleDocumentOptions,
): VerifiedDocument {
  const { name, body, chain } = raw
  const { rootCaCrl = new Uint8Array(), pckCrl = new Uint8Array() } = lists
  const signed = (member: string) => {
    const part = signedPartOf(member, body)
    return { part, given: { ...part, chain, rootCaCrl } }
  }
  switch (name.kind) {
    case 'tcbInfo': {
      const { part, given } = signed('tcbInfo')
      const document = verifySignedDocument('tcbInfo', given, options)
      requireTcbInfo(name, document)
      return dated(chain, document, { kind: 'tcbInfo', document, part })
    }
    case 'identity': {
      const { part, given } = signed('enclaveIdentity')
      const document = verifySignedDocument('enclaveIdentity', given, options)
      requireIdentity(name, document)
      return dated(chain, document, { kind: 'identity', document, part })
    }
    case 'evaluationNumbers': {
      const { given } = signed('tcbEvaluationDataNumbers')
      const document = verifySignedDocument('tcbEvaluationDataNumbers', given, options)
      require(document.id === name.tee.toUpperCase(), `evaluation numbers of ${document.id}`)
      return dated(chain, document, { kind: 'evaluationNumbers', document })
    }
    case 'pckCrl': {
      const { ca, issued, nextUpdate } = verifyPckCrl({ crl: body, chain, rootCaCrl }, options)
      require(ca === name.ca, `the list of the ${ca} CA`)
      return dated(chain, { issueDate: issued, nextUpdate }, { kind: 'crl', der: body })
    }
    case 'rootCaCrl': {
      const { issued, nextUpdate } = verifyRootCrl({ crl: body, chain }, options)
      return dated(chain, { issueDate: issued, nextUpdate }, { kind: 'crl', der: body })
    }
    case 'fmspcs':
      return { content: { kind: 'fmspcs', list: readFmspcs(body) }, endsAt: NEVER }
    case 'pckCertificates':
    case 'pckCertificate': {
      const pcks = verifyPlatformPcks(raw, name, { rootCaCrl, pckCrl }, options)
      return { content: { kind: 'pcks', pcks }, endsAt: pcks.endsAt }
    }
  }
}

/**
 * The certificate that a chain ends in, as PEM, if a pinned root's key is in it.
 * @throws DerError; UpstreamError FORMAT
 */
export function rootCertificateOf(
  chain: string,
  { roots }: Pick<SingleDocumentOptions, 'roots'>,
): string {
  const der = splitPemCertificates(chain).at(-1) ?? new Uint8Array()
  const { spki } = parseCertificate(der)
  const isPinned = roots.some(root => 'spki' in root && Buffer.compare(root.spki, spki) === 0)
  require(isPinned, 'a chain that leads up to no pinned root')
  return encodePemCertificates(der)
}

/** Which CA's list PCK certificates are verified with: the one their chain begins with says. */
export function pckCaOf(chain: string): PckCa {
  const [der = new Uint8Array()] = splitPemCertificates(chain)
  const { commonName = '' } = parseCertificate(der).subject
  return commonName.includes('Processor CA') ? 'processor' : 'platform'
}

/** Far off, and still a date that can be written. */
const NEVER = new Date('9999-12-31T23:59:59Z')

function dated(
  chain: string,
  { issueDate, nextUpdate }: { readonly issueDate: Date; readonly nextUpdate: Date },
  content: Content,
): VerifiedDocument {
  const ends = splitPemCertificates(chain).map(der => parseCertificate(der).notAfter.getTime())
  return {
    content,
    issuedAt: issueDate,
    endsAt: new Date(Math.min(nextUpdate.getTime(), ...ends)),
  }
}

function requireTcbInfo(name: TcbInfoName, document: TcbInfo): void {
  const fmspc = Buffer.from(document.fmspc).toString('hex')
  const isTee = document.id === name.tee.toUpperCase()
  require(fmspc === name.fmspc && isTee, 'collateral of another platform')
  const version = name.api === 3 ? 2 : 3
  require(document.version === version, `TCB info of version ${document.version}`)
  requireEdition(name.edition, document)
}

function requireIdentity(name: IdentityName, document: QeIdentity): void {
  require(document.id === name.of, `the identity of ${document.id}`)
  requireEdition(name.edition, document)
}

function requireEdition(
  edition: Edition,
  { tcbEvaluationDataNumber }: { readonly tcbEvaluationDataNumber: number },
): void {
  const isWanted = typeof edition !== 'number' || edition === tcbEvaluationDataNumber
  require(isWanted, `a document of evaluation number ${tcbEvaluationDataNumber}`)
}

function require(condition: boolean, sent: string): void {
  if (!condition) throw new UpstreamError('FORMAT', `it sent ${sent}`)
}
