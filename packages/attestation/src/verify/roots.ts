import { bytesOfHex, hexOf } from '../bytes/text.ts'
import type { Quote } from '../quote/quote.ts'
import type { SnpProduct } from '../sev-snp/tcb.ts'
import { SIM_NAMES } from '../sim/names.ts'
import type { Tee } from '../tee.ts'
import type { Certificate } from '../x509/certificate.ts'
import { sameBytes } from '../x509/der.ts'
import { EvidenceError } from './errors.ts'

interface PinnedRoot {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** Vendor id that a quoting enclave under this root bears, 16 bytes. */
  readonly qeVendorId: Uint8Array
}

/** Root of processors, for enclaves and trust domains alike; Intel's own. */
export interface IntelRoot extends PinnedRoot {
  readonly kind: 'intel'
}

/** Root of simulated platforms. To pin it is to trust whoever holds its key, and no hardware. */
export interface SimRoot extends PinnedRoot {
  readonly kind: 'sim'
}

/** A root that quotes may lead up to. */
export type QuoteRoot = IntelRoot | SimRoot

interface PinnedSnpRoot {
  readonly product: SnpProduct
  /** SHA-384 of the SubjectPublicKeyInfo (DER), 48 bytes. */
  readonly keyId: Uint8Array
}

/** AMD's root of one line of processors (ARK). */
export interface AmdRoot extends PinnedSnpRoot {
  readonly kind: 'amd'
}

/** Root of simulated SEV-SNP platforms. To pin it is to trust whoever holds its key. */
export interface SimSnpRoot extends PinnedSnpRoot {
  readonly kind: 'sim-snp'
}

/** A root that SEV-SNP reports may lead up to. */
export type SnpRoot = AmdRoot | SimSnpRoot

/**
 * A root that evidence may lead up to, pinned by its public key. Its `kind` and what was signed
 * under it make the `tee` of the claims.
 */
export type TrustRoot = QuoteRoot | SnpRoot

/** Intel SGX Root CA, over all SGX and TDX processors: its public key, and Intel's vendor id. */
export const INTEL_ROOT: IntelRoot = {
  kind: 'intel',
  spki: bytesOfHex(
    [
      '3059301306072a8648ce3d020106082a8648ce3d030107034200040ba9c4c0c0c86193a3fe23d6b0',
      '2cda10a8bbd4e88e48b4458561a36e705525f567918e2edc88e40d860bd0cc4ee26aacc988e505a9',
      '53558c453f6b0904ae7394',
    ].join(''),
  ),
  qeVendorId: bytesOfHex('939a7233f79c4ca9940a0db3957f0607'),
}

/** AMD's roots: of Milan, Genoa (with Siena and Bergamo) and Turin. */
export const AMD_ROOTS: readonly AmdRoot[] = [
  amdRoot('Milan', [
    '1249f67f15cf229a4069195e1a9ce537d1765ef706a1f4a1',
    '23c36be9518786515d25ecc007f366b564d2b3f31c48082e',
  ]),
  amdRoot('Genoa', [
    '32ab53a6ce5ec14926207396e5c475ae768a6a9831b7e860',
    'b5acf2e1c1dff222bc5a8bfc43eb5e06393189c1f246d880',
  ]),
  amdRoot('Turin', [
    '3475f08a9727f8ac9a1deaea5f2a2097aa59d64d05c2a678',
    'c229c873e6359d3a6926287a2a22cd5f88a385e333a2fcc5',
  ]),
]

/** Whether a root is one that quotes lead up to. */
export function isQuoteRoot(root: TrustRoot): root is QuoteRoot {
  return root.kind === 'intel' || root.kind === 'sim'
}

/** Common name of the certificate that signs TCB info and identities. */
export const TCB_SIGNERS: Readonly<Record<QuoteRoot['kind'], string>> = {
  intel: 'Intel SGX TCB Signing',
  sim: SIM_NAMES.tcbSigning,
}

/** The TEE that a root proves of a quote of this body; the body is signed under the root. */
export function teeOf({ kind }: QuoteRoot, { body }: Quote): Tee {
  switch (kind) {
    case 'intel':
      return body.kind === 'enclave' ? 'sgx' : 'tdx'
    case 'sim':
      return 'sim'
  }
}

/** The quote's vendor decides which roots may stand behind it, before any certificate is read. */
export function rootsOfVendor(roots: readonly TrustRoot[], quote: Quote): readonly QuoteRoot[] {
  const fitting = roots
    .filter(isQuoteRoot)
    .filter(root => sameBytes(root.qeVendorId, quote.header.qeVendorId))
  if (fitting.length === 0) {
    throw new EvidenceError(
      'QE_VENDOR',
      `no pinned root for quotes of vendor ${hexOf(quote.header.qeVendorId)}`,
    )
  }
  return fitting
}

/** The pinned root that the last certificate of a chain has the key of; nothing is verified. */
export function quoteRootOf(
  chain: readonly Certificate[],
  roots: readonly TrustRoot[],
): QuoteRoot | undefined {
  const top = chain.at(-1)
  return roots
    .filter(isQuoteRoot)
    .find(({ spki }) => top !== undefined && sameBytes(spki, top.spki))
}

/** The pinned root a verified chain ends in. A key pinned for two kinds would prove neither. */
export function rootOf(
  chain: readonly Certificate[],
  fitting: readonly QuoteRoot[],
  roots: readonly TrustRoot[],
): QuoteRoot {
  const top = chain.at(-1)
  const isTop = ({ spki }: QuoteRoot) => top !== undefined && sameBytes(spki, top.spki)
  const root = fitting.find(isTop)
  const pinned = roots.filter(isQuoteRoot).filter(isTop)
  if (root === undefined || pinned.some(other => other.kind !== root.kind)) {
    throw new EvidenceError('AMBIGUOUS_ROOT', 'the root is pinned for more than one kind')
  }
  return root
}

function amdRoot(product: SnpProduct, keyId: readonly string[]): AmdRoot {
  return { kind: 'amd', product, keyId: bytesOfHex(keyId.join('')) }
}
