import { createHash } from 'node:crypto'
import {
  AMD_ROOTS,
  type AppraisalPolicy,
  INTEL_ROOT,
  isSnpReport,
  parseCertificate,
  parseQuote,
  parseVekExtensions,
  type TrustRoot,
  type VerifiedEvidence,
  verifyEvidence,
} from '@cloister/attestation'
import { readQuoteCollateral, readSnpCollateral } from './collateral-files.ts'
import { readEvidence } from './evidence-file.ts'
import { instantOf } from './instant.ts'
import { spkiOf } from './trust-root.ts'

/** Flags of the commands that verify evidence. */
export interface VerifyFlags {
  readonly collateral: string
  readonly at?: string
  readonly trustRoot?: string
  readonly allowSimulatedPlatform?: true
  readonly allowUncheckedRevocation?: true
}

/**
 * Verifies the evidence of a file.
 * @param policy - Only its grace period for collateral counts here.
 * @param simulatedRoots - Roots of the home's own simulated platform, where allowed.
 */
export async function verifyFile(
  file: string,
  flags: VerifyFlags,
  policy: AppraisalPolicy | undefined,
  simulatedRoots: readonly TrustRoot[],
): Promise<VerifiedEvidence> {
  const evidence = await readEvidence(file)
  const at = instantOf(flags.at)
  const pins = [INTEL_ROOT, ...AMD_ROOTS, ...simulatedRoots]
  if (isSnpReport(evidence)) {
    const allowed = flags.allowUncheckedRevocation === true
    const collateral = await readSnpCollateral(flags.collateral, allowed)
    const { product } = parseVekExtensions(parseCertificate(collateral.vek))
    const given = await spkiOf(flags.trustRoot)
    const roots: readonly TrustRoot[] =
      given === undefined
        ? pins
        : [
            {
              ...{ kind: 'amd', product },
              keyId: new Uint8Array(createHash('sha384').update(given).digest()),
            },
          ]
    return verifyEvidence({ evidence, collateral, roots, at })
  }
  const { qeVendorId } = parseQuote(evidence).header
  const given = await spkiOf(flags.trustRoot)
  return verifyEvidence({
    evidence,
    collateral: await readQuoteCollateral(flags.collateral, evidence),
    roots: given === undefined ? pins : [{ kind: 'intel', spki: given, qeVendorId }],
    at,
    collateralGraceDays: policy?.platform?.collateralGraceDays ?? 0,
  })
}
