import { primitives } from '#crypto'
import type { Collateral } from '../collateral/collateral.ts'
import type { SvnLevel } from '../collateral/tcb-level.ts'
import { MAX_QUOTE_BYTES, parseQuote, type Quote } from '../quote/quote.ts'
import { requireLength, verifyChainKnowing } from '../x509/chain.ts'
import { Known } from '../x509/known.ts'
import type { QuoteClaims } from './claims.ts'
import { convergedStatus, type TdParts } from './converge.ts'
import { datesOf } from './dates.ts'
import {
  type Documents,
  type Instant,
  openDocuments,
  PCK_CHAIN,
  readCollateral,
  requireInDate,
  verifyCollateralChains,
} from './documents.ts'
import { requireDocumentsFit, requireSamePlatform } from './fit.ts'
import { gapsOf } from './gaps.ts'
import { ownCopy } from './own-copy.ts'
import { pckChainOf, pckExtensionOf } from './pck-chain.ts'
import {
  matchQeIdentity,
  requireBoundKey,
  verifyQeReport,
  verifyQuoteSignature,
} from './quoting-enclave.ts'
import { rootOf, rootsOfVendor, type TrustRoot, teeOf } from './roots.ts'
import { matchTcbLevels } from './tcb-levels.ts'
import { matchTdxModule, requireTdxModule } from './tdx-module.ts'
import type { QuoteCollateralInside } from './verified-collateral.ts'

/**
 * Verifies an SGX or TDX quote against its collateral. Applies no policy.
 * @throws QuoteFormatError, DerError, ChainError, CollateralError, EvidenceError
 * @see Intel SGX and TDX DCAP quote verification; the steps stand in its order
 */
export function verifyQuote(
  evidence: Uint8Array,
  given: { readonly source: Collateral } | { readonly verified: QuoteCollateralInside },
  roots: readonly TrustRoot[],
  instant: Instant,
): QuoteClaims {
  const { at, graceMs } = instant
  // 1. What is quoted, and whose root may stand behind it.
  // A copy, so that claims stay whatever the caller does to its bytes.
  const quote = parseQuote(new Uint8Array(evidence.subarray(0, MAX_QUOTE_BYTES)))
  const fitting = rootsOfVendor(roots, quote)
  const verified = 'verified' in given ? given.verified : undefined
  const known = new Known(verified?.known)
  const collateral =
    'verified' in given ? given.verified.collateral : readCollateral(given.source, known)

  // 2, 3. Chains up to the pinned root, and their revocation lists.
  const { crls } = collateral
  const pckChain = pckChainOf(quote, collateral.source, known)
  const spkis = fitting.map(({ spki }) => spki)
  verifyChainKnowing(known, { chain: pckChain, roots: spkis, crls, at }, graceMs)
  requireLength('PCK chain', pckChain, PCK_CHAIN)
  // One vendor may have several pinned roots; none of them vouches for another's platforms.
  const root = rootOf(pckChain, fitting, roots)
  verifyCollateralChains(collateral, root, known, instant)

  // 4, 5. Documents: signed, in date, for this TEE and this platform.
  const documents = verified?.documents ?? openDocuments(collateral, known)
  const { tcbInfo, qeIdentity } = documents
  requireInDate('TCB info', tcbInfo, instant)
  requireInDate('QE identity', qeIdentity, instant)
  requireDocumentsFit(quote, documents)
  const pck = pckExtensionOf(quote, pckChain)
  requireSamePlatform(pck, tcbInfo)

  // 6. The TDX module.
  const module = moduleOf(quote, documents)

  // 7 to 10. From the PCK over the quoting enclave to the quote.
  verifyQeReport(quote, known.keyOf(pckChain[0], 'ES256'))
  requireBoundKey(quote)
  const qeLevel = matchQeIdentity(quote, qeIdentity)
  verifyQuoteSignature(quote)

  // 11 to 13. Levels of platform and module, converged.
  const td = quote.body.kind === 'td' ? quote.body.report : undefined
  const levels = matchTcbLevels(tcbInfo, pck, td)
  const tdParts = tdPartsOf(quote, documents, module)
  const platform = levels.platform
  const moduleLevel = tdParts?.moduleLevel

  // 14. What was found.
  return {
    ...bodyClaims(quote, module?.id, moduleLevel),
    tee: teeOf(root, quote),
    verifiedAt: new Date(at),
    quoteVersion: quote.header.version,
    pck: ownCopy(pck),
    tcbStatus: convergedStatus(levels, qeLevel, tdParts),
    platformTcbStatus: platform.status,
    sgxTcbStatus: levels.sgx.status,
    qeTcbStatus: qeLevel.status,
    tcbLevel: ownCopy(platform),
    behind: ownCopy(gapsOf({ quote, documents, pck, platform, qeLevel, module, moduleLevel })),
    advisoryIds: unionOf(platform.advisoryIds, moduleLevel?.advisoryIds, qeLevel.advisoryIds),
    tcbDate: new Date(platform.tcbDate),
    qeTcbDate: new Date(qeLevel.tcbDate),
    tcbEvaluationDataNumber: tcbInfo.tcbEvaluationDataNumber,
    qeTcbEvaluationDataNumber: qeIdentity.tcbEvaluationDataNumber,
    ...datesOf(pckChain, collateral, documents),
    rootKeyId: primitives.digest('SHA-384', root.spki),
  }
}

type Module = ReturnType<typeof requireTdxModule>

function moduleOf({ body }: Quote, { tcbInfo }: Documents): Module {
  return body.kind === 'td' && tcbInfo.id === 'TDX'
    ? requireTdxModule(body.report, tcbInfo)
    : undefined
}

function tdPartsOf({ body }: Quote, { tcbInfo }: Documents, module: Module): TdParts | undefined {
  if (body.kind !== 'td' || tcbInfo.id !== 'TDX') return undefined
  return { report: body.report, tcbInfo, moduleLevel: matchTdxModule(body.report, module) }
}

function bodyClaims({ body }: Quote, moduleId: string | undefined, level: SvnLevel | undefined) {
  switch (body.kind) {
    case 'enclave':
      return { kind: 'enclave', report: body.report } as const
    case 'td': {
      const tdxModule = {
        ...(moduleId === undefined ? {} : { id: moduleId }),
        tcbStatus: level?.status ?? 'UpToDate',
        ...(level === undefined ? {} : { tcbDate: new Date(level.tcbDate) }),
      } as const
      return { kind: 'td', tdReport: body.report, tdxModule } as const
    }
  }
}

function unionOf(...lists: readonly (readonly string[] | undefined)[]): readonly string[] {
  return [...new Set(lists.flatMap(list => list ?? []))].sort()
}
