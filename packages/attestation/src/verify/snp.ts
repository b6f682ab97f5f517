import { primitives } from '#crypto'
import { hexOf } from '../bytes/text.ts'
import { CollateralError } from '../collateral/errors.ts'
import { REVOCATION_UNCHECKED, type SnpCollateral } from '../sev-snp/collateral.ts'
import {
  parseSnpReport,
  requireReportSize,
  SNP_SIGNED_SIZE,
  type SnpReport,
} from '../sev-snp/report.ts'
import { parseSnpTcb, productOfCpuid, type SnpTcb, snpPartsBelow } from '../sev-snp/tcb.ts'
import { chipIdOf, parseVekExtensions, type VekExtensions } from '../sev-snp/vek.ts'
import type { Certificate } from '../x509/certificate.ts'
import { ChainError, isRevoked, verifyCrlKnowing, verifyPath } from '../x509/chain.ts'
import { type CertificateRevocationList, parseCrl } from '../x509/crl.ts'
import { sameBytes } from '../x509/der.ts'
import type { Known } from '../x509/known.ts'
import type { SnpClaims } from './claims.ts'
import { EvidenceError } from './errors.ts'
import { ownCopy } from './own-copy.ts'
import { isQuoteRoot, type SnpRoot, type TrustRoot } from './roots.ts'

/** Collateral of SEV-SNP that has been read. Nothing in it is verified. */
export interface ReadSnpCollateral {
  /** VEK, ASK or ASVK, ARK. */
  readonly chain: readonly [vek: Certificate, ...issuers: Certificate[]]
  readonly vek: VekExtensions
  readonly crl: CertificateRevocationList | undefined
}

/**
 * Reads collateral; the bytes are copied, so that what was verified stays.
 * @throws CollateralError FORMAT when the key's certificate or the revocation list is left out
 * @throws DerError
 */
export function readSnpCollateral(source: SnpCollateral, known: Known): ReadSnpCollateral {
  const leaf = known.readCertificate(copyOf('vek', source.vek))
  return {
    chain: [leaf, ...known.readChain(source.chain)],
    vek: parseVekExtensions(leaf),
    crl: source.crl === REVOCATION_UNCHECKED ? undefined : parseCrl(copyOf('crl', source.crl)),
  }
}

/** A caller without types can leave a revocation list out; that is no way to go without one. */
function copyOf(field: 'vek' | 'crl', bytes: Uint8Array): Uint8Array {
  if (bytes instanceof Uint8Array) return new Uint8Array(bytes)
  throw new CollateralError('FORMAT', `collateral's ${field}: wanted bytes, saw ${typeof bytes}`)
}

/**
 * Verifies the chain of a signing key up to a pinned root of its product, and that neither the
 * intermediate nor a VLEK is revoked by that root.
 * @throws ChainError, EvidenceError PRODUCT, AMBIGUOUS_ROOT
 */
export function verifySnpChain(
  { chain, vek, crl }: ReadSnpCollateral,
  roots: readonly TrustRoot[],
  known: Known,
  at: Date,
): SnpRoot {
  const top = chain.at(-1)
  const keyId = top === undefined ? undefined : keyIdOf(top)
  const pinned = roots
    .filter(root => !isQuoteRoot(root))
    .filter(root => keyId !== undefined && sameBytes(root.keyId, keyId))
  const [root] = pinned
  if (chain.length !== 3) {
    throw new ChainError('LENGTH', `wanted ASK or ASVK and ARK, saw ${chain.length - 1}`)
  }
  if (top === undefined || root === undefined) {
    throw new ChainError('UNTRUSTED_ROOT', `"${top?.subject.commonName ?? ''}" is no trusted root`)
  }
  if (pinned.some(other => other.kind !== root.kind)) {
    throw new EvidenceError('AMBIGUOUS_ROOT', 'the root is pinned for more than one kind')
  }
  if (root.product !== vek.product) {
    throw new EvidenceError('PRODUCT', `a key of ${vek.product} under the root of ${root.product}`)
  }
  if (crl !== undefined) verifyCrlKnowing(known, { crl, issuer: top, at })
  verifyPath(known, { chain, roots: [top.spki], at }, certificate => {
    const listed = certificate !== chain[0] || vek.kind === 'VLEK'
    if (crl !== undefined && listed && isRevoked(crl, certificate)) {
      throw new ChainError('REVOKED', `"${certificate.subject.commonName ?? ''}" is revoked`)
    }
  })
  return root
}

/**
 * Verifies a SEV-SNP report. Debug guests and old platforms verify, and the claims say so.
 * @throws QuoteFormatError, ChainError, EvidenceError
 * @see AMD 56860 (report), 57230 (chain and extensions)
 */
export function verifySnpReport(
  evidence: Uint8Array,
  collateral: ReadSnpCollateral,
  roots: readonly TrustRoot[],
  known: Known,
  at: Date,
): SnpClaims {
  // The size first: what is too long is not copied.
  requireReportSize(evidence)
  const bytes = new Uint8Array(evidence)
  const report = parseSnpReport(bytes)
  const root = verifySnpChain(collateral, roots, known, at)
  const { chain, vek, crl } = collateral
  requireProduct(report, vek)
  requireSigningKey(report, vek)
  const tcb = {
    current: parseSnpTcb(vek.product, report.currentTcb),
    reported: parseSnpTcb(vek.product, report.reportedTcb),
    committed: parseSnpTcb(vek.product, report.committedTcb),
    launch: parseSnpTcb(vek.product, report.launchTcb),
  }
  requireTcb(tcb, vek)
  requireChip(report, vek)
  requireSignature(bytes, report, known, chain[0])
  const ends = [...chain.map(({ notAfter }) => notAfter), ...(crl ? [crl.nextUpdate] : [])]
  return {
    kind: 'snp',
    tee: root.kind === 'amd' ? 'sev-snp' : 'sim',
    verifiedAt: new Date(at),
    ...{ report, product: vek.product, tcb, vek: ownCopy(vek) },
    revocation:
      crl === undefined
        ? { checked: false }
        : {
            ...{ checked: true, issued: new Date(crl.thisUpdate) },
            nextUpdate: new Date(crl.nextUpdate),
          },
    earliestExpiration: new Date(Math.min(...ends.map(end => end.getTime()))),
    rootKeyId: root.keyId.slice(),
  }
}

/** Collateral of the other kind is no collateral. */
export function otherTee(wanted: string): CollateralError {
  return new CollateralError('OTHER_TEE', `the evidence needs collateral of ${wanted}`)
}

function requireProduct({ cpuid }: SnpReport, vek: VekExtensions): void {
  if (cpuid === undefined) return
  const product = productOfCpuid(cpuid)
  if (product !== vek.product) {
    const seen = product ?? `family ${cpuid.family}, model ${cpuid.model}`
    throw new EvidenceError('PRODUCT', `a report of ${seen}, a key of ${vek.product}`)
  }
}

function requireSigningKey({ signingKey }: SnpReport, { kind }: VekExtensions): void {
  if (signingKey !== kind) {
    throw new EvidenceError(
      'SIGNING_KEY',
      `a ${signingKey} signed, the certificate is of a ${kind}`,
    )
  }
}

function requireTcb(tcb: SnpClaims['tcb'], { tcb: certified }: VekExtensions): void {
  const isOther = (part: keyof SnpTcb) => tcb.reported[part] !== certified[part]
  const other = (Object.keys(certified) as (keyof SnpTcb)[]).find(isOther)
  if (other !== undefined) {
    throw new EvidenceError(
      'REPORTED_TCB',
      `${other}: the certificate is for ${certified[other]}, reported is ${tcb.reported[other]}`,
    )
  }
  const [ahead] = snpPartsBelow(tcb.current, tcb.committed)
  if (ahead !== undefined) {
    throw new EvidenceError('COMMITTED_TCB', `${ahead}: more is committed than is current`)
  }
}

/**
 * The chip is the one whose key signed; a report repeats its id, or has zero where the host masks it.
 * @see AMD 56860, ATTESTATION_REPORT, CHIP_ID
 */
function requireChip({ chipId }: SnpReport, vek: VekExtensions): void {
  const wanted = chipIdOf(vek)
  if (wanted === undefined || chipId.every(byte => byte === 0)) return
  if (!sameBytes(chipId, wanted)) {
    throw new EvidenceError('CHIP_ID', `wanted ${hexOf(wanted)}, saw ${hexOf(chipId)}`)
  }
}

function requireSignature(
  bytes: Uint8Array,
  { signature }: SnpReport,
  known: Known,
  vek: Certificate,
): void {
  const key = known.keyOf(vek, 'ES384')
  if (key === undefined) throw new EvidenceError('KEY', 'the VEK is no key of P-384')
  if (!key.verifies(bytes.subarray(0, SNP_SIGNED_SIZE), signature)) {
    throw new EvidenceError('REPORT_SIGNATURE', 'the VEK did not sign the report')
  }
}

function keyIdOf({ spki }: Certificate): Uint8Array {
  return primitives.digest('SHA-384', spki)
}
