import { AMD_ROOTS, INTEL_ROOT, isSnpReport } from '@cloister/attestation'
import type { ConnectAttestedOptions } from '@cloister/attester'
import type { KmsPin } from '@cloister/kms'
import type { Command } from 'commander'
import { readPolicyFile } from '../appraisal-policy.ts'
import { readQuoteCollateral, readSnpCollateral } from '../attest/collateral-files.ts'
import { fetchAttestedPin } from '../attested-pin.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

interface VerifyFlags extends GlobalFlags {
  readonly policy: string
  readonly kmsId?: string
  readonly collateral?: string
  readonly allowSimulatedPlatform?: true
}

/** `cloister kms verify`. */
export function addVerifyCommand(kms: Command): void {
  kms
    .command('verify')
    .description('have a key service prove what runs there, over attested TLS, and pin it')
    .argument('<address>', 'HOST:PORT of its attested port')
    .requiredOption('--policy <file>', 'what its evidence must be like, its enclave too (YAML)')
    .option('--kms-id <id>', 'the id it must have, from whoever runs it')
    .option(
      '--collateral <path>',
      'JSON of its quote’s collateral; or a folder with it, or with vek.der, chain.pem and crl.der',
    )
    .option('--allow-simulated-platform', "trust this home's simulated TEE, which protects nothing")
    .addHelpText(
      'after',
      `
Examples:
  cloister kms verify kms.example:8444 --policy kms-policy.yaml --collateral collateral.json
  cloister kms verify localhost:8444 --policy kms-policy.yaml --allow-simulated-platform`,
    )
    .action(async (address: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<VerifyFlags>()
      const session = new Session(flags)
      const policy = await readPolicyFile(flags.policy)
      const { appraisal, pin } = await fetchAttestedPin({
        ...hostAndPort(address),
        ...(await requirementsOf(session, flags)),
        policy,
      })
      const isNew = await pinned(session, pin, flags.kmsId)
      const { tee } = appraisal.evidence
      const told = { kmsId: pin.kmsId, url: pin.url, tee, pinned: isNew ? 'now' : 'before' }
      session.printer.result(told, () => {
        const what = isNew ? 'verified, and pinned' : 'verified; it was pinned before'
        return `key service ${pin.kmsId} at ${pin.url}: ${what} (tee: ${tee})`
      })
    })
}

function hostAndPort(address: string): Pick<ConnectAttestedOptions, 'host' | 'port'> {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? []
  const host = bracketed ?? plain
  if (host !== undefined && Number(port) <= 65_535) return { host, port: Number(port) }
  throw new UsageError(`wanted HOST:PORT, saw ${address}`, 'give the attested port of kms serve')
}

async function requirementsOf(
  session: Session,
  { allowSimulatedPlatform, collateral }: VerifyFlags,
): Promise<Pick<ConnectAttestedOptions, 'roots' | 'collateralFor' | 'now'>> {
  const now = () => new Date()
  const platform =
    allowSimulatedPlatform === true ? await simulatedPlatform(session.home) : undefined
  if (platform !== undefined) {
    session.printer.note('SIMULATED TEE ALLOWED: it protects nothing from its host')
  }
  return {
    now,
    roots: [INTEL_ROOT, ...AMD_ROOTS, ...(platform === undefined ? [] : [platform.trustRoot])],
    collateralFor: async ({ evidence }) => {
      if (collateral !== undefined) {
        return isSnpReport(evidence)
          ? await readSnpCollateral(collateral, false)
          : await readQuoteCollateral(collateral, evidence)
      }
      if (platform !== undefined) return platform.collateral(now())
      throw new UsageError('there is no collateral', 'give --collateral: cloister pccs get --help')
    },
  }
}

/** Pins a key service, or finds it pinned already; another that is pinned stays. */
async function pinned(session: Session, pin: KmsPin, wantedId?: string): Promise<boolean> {
  if (wantedId !== undefined && wantedId !== pin.kmsId) {
    throw new UsageError(
      `wanted key service ${wantedId}, seen ${pin.kmsId}`,
      'the right program runs there, and it is another key service: ask whoever gave you the id',
    )
  }
  if ((await session.home.find('pin')) !== undefined) {
    const before = await session.pin()
    if (before.kmsId === pin.kmsId) return false
    throw new UsageError(
      `this home has pinned key service ${before.kmsId}, seen ${pin.kmsId}`,
      'take another --home for another key service',
    )
  }
  await session.home.write('pin', `${JSON.stringify(pin, null, 2)}\n`)
  return true
}
