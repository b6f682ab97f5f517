import { createHash } from 'node:crypto'
import {
  AMD_ROOTS,
  type AppraisalPolicy,
  INTEL_ROOT,
  isSnpReport,
  parseCertificate,
  parseQuote,
  parseVekExtensions,
  type SimPlatform,
  type TrustRoot,
  type VerifiedEvidence,
  verifyEvidence,
} from '@cloister/attestation'
import { UsageError } from '../usage-error.ts'
import { readQuoteCollateral, readSnpCollateral } from './collateral-files.ts'
import { readEvidence } from './evidence-file.ts'
import { instantOf } from './instant.ts'
import { spkiOf } from './trust-root.ts'

/** Flags of the commands that verify evidence. */
export interface VerifyFlags {
  /** Absent: that of the home's own simulated platform. */
  readonly collateral?: string
  readonly at?: string
  readonly trustRoot?: string
  readonly allowSimulatedPlatform?: true
  readonly allowUncheckedRevocation?: true
}

/**
 * Verifies the evidence of a file.
 * @param policy - Only its grace period for collateral counts here.
 * @param simulated - The home's own simulated platform, where allowed.
 */
export async function verifyFile(
  file: string,
  flags: VerifyFlags,
  policy: AppraisalPolicy | undefined,
  simulated: SimPlatform | undefined,
): Promise<VerifiedEvidence> {
  const evidence = await readEvidence(file)
  const at = instantOf(flags.at)
  const own = simulated === undefined ? [] : [simulated.trustRoot]
  const pins = [INTEL_ROOT, ...AMD_ROOTS, ...own]
  if (isSnpReport(evidence)) {
    const allowed = flags.allowUncheckedRevocation === true
    const collateral = await readSnpCollateral(flags.collateral ?? missing(), allowed)
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
  const { qeVendorId, teeType } = parseQuote(evidence).header
  const given = await spkiOf(flags.trustRoot)
  return verifyEvidence({
    evidence,
    collateral:
      flags.collateral === undefined
        ? (ownCollateral(simulated, teeType, at) ?? missing())
        : await readQuoteCollateral(flags.collateral, evidence),
    roots: given === undefined ? pins : [{ kind: 'intel', spki: given, qeVendorId }],
    at,
    collateralGraceDays: policy?.platform?.collateralGraceDays ?? 0,
  })
}

function ownCollateral(simulated: SimPlatform | undefined, tee: 'sgx' | 'tdx', at: Date) {
  return tee === 'sgx' ? simulated?.collateral(at) : simulated?.tdxCollateral(at)
}

function missing(): never {
  throw new UsageError(
    'wanted --collateral, which the evidence is verified with',
    'get it: cloister pccs get QUOTE --out FILE; for a SEV-SNP report, from AMD’s KDS',
  )
}
