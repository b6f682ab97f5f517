import {
  CodedError,
  type Collateral,
  isDebugEnclave,
  type QuoteClaims,
  type TcbStatus,
  type Verified,
  verifyEvidence,
} from '@cloister/attestation'
import { KmsError } from '../../../protocol/errors.ts'
import { type ClaimedPlatform, claimedPlatform } from '../../attest/collateral-folder.ts'
import type { KmsService } from '../../service.ts'
import { failed } from '../wire/refusal.ts'

/** What verification comes to, in the numbers of DCAP's quote verification library. */
export const RESULT = {
  OK: 0,
  CONFIG_NEEDED: 0xa001,
  OUT_OF_DATE: 0xa002,
  OUT_OF_DATE_CONFIG_NEEDED: 0xa003,
  INVALID_SIGNATURE: 0xa004,
  REVOKED: 0xa005,
  UNSPECIFIED: 0xa006,
  SW_HARDENING_NEEDED: 0xa007,
  CONFIG_AND_SW_HARDENING_NEEDED: 0xa008,
} as const

/** One of {@link RESULT}. */
export type VerificationResult = (typeof RESULT)[keyof typeof RESULT]

const OF_STATUS: Readonly<Record<TcbStatus, VerificationResult>> = {
  UpToDate: RESULT.OK,
  ConfigurationNeeded: RESULT.CONFIG_NEEDED,
  OutOfDate: RESULT.OUT_OF_DATE,
  OutOfDateConfigurationNeeded: RESULT.OUT_OF_DATE_CONFIG_NEEDED,
  Revoked: RESULT.REVOKED,
  SWHardeningNeeded: RESULT.SW_HARDENING_NEEDED,
  ConfigurationAndSWHardeningNeeded: RESULT.CONFIG_AND_SW_HARDENING_NEEDED,
  // The library has no number for these: its clients must not take them for good.
  TDRelaunchAdvised: RESULT.UNSPECIFIED,
  TDRelaunchAdvisedConfigurationNeeded: RESULT.UNSPECIFIED,
}

/** A result, with what the quote proves; undefined where it proves nothing. */
export interface VerifiedQuote {
  readonly result: VerificationResult
  readonly claims: Verified<QuoteClaims> | undefined
}

/**
 * Verifies a quote with the service's roots and collateral. A debug enclave never comes out as good:
 * whoever runs it reads its memory.
 * @throws EhsmRefusal for what is no quote
 */
export async function verifyQuote(
  service: KmsService,
  quote: Uint8Array,
  at: Date,
): Promise<VerifiedQuote> {
  const collateral = await collateralOf(service, platformOf(quote))
  if (collateral === undefined) return { result: RESULT.UNSPECIFIED, claims: undefined }
  try {
    const { appraisal, roots } = service
    const { collateralGraceDays = 0 } = appraisal.platform ?? {}
    const claims = verifyEvidence({ evidence: quote, collateral, roots, at, collateralGraceDays })
    const isDebug = isDebugEnclave(claims)
    return { claims, result: isDebug ? RESULT.UNSPECIFIED : OF_STATUS[claims.tcbStatus] }
  } catch (error) {
    if (!(error instanceof CodedError)) throw error
    return { claims: undefined, result: resultOf(error) }
  }
}

function platformOf(quote: Uint8Array): ClaimedPlatform {
  try {
    return claimedPlatform(quote)
  } catch (cause) {
    if (cause instanceof CodedError || cause instanceof KmsError) throw failed(undefined, cause)
    throw cause
  }
}

async function collateralOf(
  service: KmsService,
  platform: ClaimedPlatform,
): Promise<Collateral | undefined> {
  try {
    return await service.collateral.forPlatform(platform)
  } catch (error) {
    if (error instanceof KmsError && error.code === 'COLLATERAL_UNAVAILABLE') return undefined
    throw error
  }
}

function resultOf({ code, name }: CodedError<string>): VerificationResult {
  if (code === 'REVOKED') return RESULT.REVOKED
  if (code === 'TCB_NOT_SUPPORTED') return RESULT.UNSPECIFIED
  const isOfSignatures =
    name === 'EvidenceError' || code === 'SIGNATURE' || code === 'UNTRUSTED_ROOT'
  return isOfSignatures ? RESULT.INVALID_SIGNATURE : RESULT.UNSPECIFIED
}
