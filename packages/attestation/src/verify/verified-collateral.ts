import type { Brand } from '../brand.ts'
import type { Collateral } from '../collateral/collateral.ts'
import type { SnpCollateral } from '../sev-snp/collateral.ts'
import type { SnpProduct } from '../sev-snp/tcb.ts'
import { ChainError } from '../x509/chain.ts'
import { Known } from '../x509/known.ts'
import {
  type Documents,
  graceMsOf,
  type Instant,
  openDocuments,
  type ReadCollateral,
  readCollateral,
  requireInDate,
  verifyCollateralChains,
} from './documents.ts'
import { quoteRootOf, type TrustRoot } from './roots.ts'
import { type ReadSnpCollateral, readSnpCollateral, verifySnpChain } from './snp.ts'

/** Collateral whose every signature was checked. Only {@link verifyCollateral} makes one. */
export type VerifiedCollateral = Brand<
  | {
      /** What its TCB info is about. */
      readonly of: 'SGX' | 'TDX'
      /** 6 bytes: the platforms it is for. */
      readonly fmspc: Uint8Array
    }
  | {
      readonly of: 'SEV-SNP'
      readonly product: SnpProduct
      /** Chip id of a VCEK. */
      readonly hwId?: Uint8Array
    },
  'VerifiedCollateral'
>

/** What the verification of a quote can take over from verified collateral. */
export interface QuoteCollateralInside {
  readonly collateral: ReadCollateral
  readonly documents: Documents
  readonly known: Known
}

interface SnpCollateralInside {
  readonly collateral: ReadSnpCollateral
  readonly known: Known
}

type Inside = QuoteCollateralInside | SnpCollateralInside

const insides = new WeakMap<Collateral | SnpCollateral | VerifiedCollateral, Inside>()

/** What {@link verifyCollateral} needs. */
export interface VerifyCollateralOptions {
  readonly collateral: Collateral | SnpCollateral
  readonly roots: readonly TrustRoot[]
  /** The instant to judge at. */
  readonly at: Date
  /** As of `verifyEvidence`; 0 unless told. */
  readonly collateralGraceDays?: number
}

/**
 * Verifies collateral on its own, so that much evidence of its platforms is verified faster: give
 * the result to `verifyEvidence` in place of the collateral. Dates are judged again there, each time.
 * @throws DerError, ChainError, CollateralError, EvidenceError
 */
export function verifyCollateral({
  collateral,
  roots,
  at,
  collateralGraceDays,
}: VerifyCollateralOptions): VerifiedCollateral {
  return 'vek' in collateral
    ? verifiedSnp(collateral, roots, at)
    : verifiedQuotes(collateral, roots, { at, graceMs: graceMsOf(collateralGraceDays) })
}

function verifiedSnp(
  source: SnpCollateral,
  roots: readonly TrustRoot[],
  at: Date,
): VerifiedCollateral {
  const known = new Known()
  const collateral = readSnpCollateral(source, known)
  verifySnpChain(collateral, roots, known, at)
  const { product, hwId } = collateral.vek
  const verified = {
    ...{ of: 'SEV-SNP', product },
    ...(hwId === undefined ? {} : { hwId: hwId.slice() }),
  } as VerifiedCollateral
  insides.set(verified, { collateral, known })
  return verified
}

function verifiedQuotes(
  source: Collateral,
  roots: readonly TrustRoot[],
  instant: Instant,
): VerifiedCollateral {
  const known = new Known()
  const collateral = readCollateral({ ...source }, known)
  const root = quoteRootOf(collateral.crlChain, roots)
  if (root === undefined) {
    throw new ChainError('UNTRUSTED_ROOT', 'the collateral leads up to no pinned root')
  }
  verifyCollateralChains(collateral, root, known, instant)
  const documents = openDocuments(collateral, known)
  requireInDate('TCB info', documents.tcbInfo, instant)
  requireInDate('QE identity', documents.qeIdentity, instant)
  const { id, fmspc } = documents.tcbInfo
  const verified = { of: id, fmspc: fmspc.slice() } as VerifiedCollateral
  insides.set(verified, { collateral, documents, known })
  return verified
}

/** What is inside verified collateral; `undefined` for any that is not. */
export function insideOf(
  collateral: Collateral | SnpCollateral | VerifiedCollateral,
): Inside | undefined {
  return insides.get(collateral)
}
