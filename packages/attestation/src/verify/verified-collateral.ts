import type { Brand } from '../brand.ts'
import type { Collateral } from '../collateral/collateral.ts'
import { ChainError } from '../x509/chain.ts'
import { sameBytes } from '../x509/der.ts'
import { Known } from '../x509/known.ts'
import {
  type Documents,
  openDocuments,
  type ReadCollateral,
  readCollateral,
  requireInDate,
  verifyCollateralChains,
} from './documents.ts'
import type { TrustRoot } from './roots.ts'

/** Collateral whose every signature was checked. Only {@link verifyCollateral} makes one. */
export type VerifiedCollateral = Brand<
  {
    /** 6 bytes: the platforms it is for. */
    readonly fmspc: Uint8Array
    /** What its TCB info is about. */
    readonly tcbInfoId: 'SGX' | 'TDX'
    /** SubjectPublicKeyInfo (DER) of the root it leads up to. */
    readonly rootSpki: Uint8Array
  },
  'VerifiedCollateral'
>

/** What a verification can take over from verified collateral. */
interface Inside {
  readonly collateral: ReadCollateral
  readonly documents: Documents
  readonly known: Known
}

const insides = new WeakMap<Collateral | VerifiedCollateral, Inside>()

/** What {@link verifyCollateral} needs. */
export interface VerifyCollateralOptions {
  readonly collateral: Collateral
  readonly roots: readonly TrustRoot[]
  /** The instant to judge at. */
  readonly at: Date
}

/**
 * Verifies collateral on its own, so that many quotes of its platforms are verified faster: give
 * the result to `verifyEvidence` in place of the collateral. Dates are judged again there, each time.
 * @throws DerError, ChainError, CollateralError
 */
export function verifyCollateral(options: VerifyCollateralOptions): VerifiedCollateral {
  const { roots, at } = options
  const known = new Known()
  const collateral = readCollateral({ ...options.collateral }, known)
  const top = collateral.crlChain.at(-1)
  const root = roots.find(({ spki }) => top !== undefined && sameBytes(spki, top.spki))
  if (root === undefined) {
    throw new ChainError('UNTRUSTED_ROOT', 'the collateral leads up to no pinned root')
  }
  verifyCollateralChains(collateral, root, known, at)
  const documents = openDocuments(collateral, known)
  requireInDate('TCB info', documents.tcbInfo, at)
  requireInDate('QE identity', documents.qeIdentity, at)
  const verified = {
    fmspc: documents.tcbInfo.fmspc.slice(),
    tcbInfoId: documents.tcbInfo.id,
    rootSpki: root.spki.slice(),
  } as VerifiedCollateral
  insides.set(verified, { collateral, documents, known })
  return verified
}

/** What is inside verified collateral; `undefined` for any that is not. */
export function insideOf(collateral: Collateral | VerifiedCollateral): Inside | undefined {
  return insides.get(collateral)
}
