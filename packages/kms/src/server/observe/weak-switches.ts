import type { AppraisalPolicy, TrustRoot } from '@cloister/attestation'
import type { RootKeeping } from '../root/index.ts'
import { isWeak, type PostgresOptions } from '../store/index.ts'

/**
 * Every choice of an operator that weakens a key service, and what it weakens: the words of the log,
 * of `cloister doctor` and of the metrics' help.
 */
export const WEAK_SWITCHES = {
  'ehsm-open-enrolment':
    'WHOEVER REACHES THIS SERVICE MAY OPEN AN EHSM ACCOUNT: enrolment takes no token',
  'ehsm-open-keys':
    'AN API KEY ALONE GIVES THE USE OF EHSM KEYS AND SECRETS: their users need not be attested',
  'weak-database-tls':
    'WHOEVER STANDS BETWEEN MAY READ AND CHANGE WHAT IS STORED: the database is reached with a weak sslmode',
  'simulated-platform': 'KEYS ARE RELEASED TO A SIMULATED TEE: it protects nothing from its host',
  'root-key-file':
    'WHOEVER READS THE DATA FOLDER HAS EVERY KEY: the root key lies there as it is (--root-key)',
  'root-key-simulated':
    'THE ROOT KEY IS SEALED TO A SIMULATED TEE: whoever reads the home folder has every key',
  'debug-workloads':
    'A WORKLOAD THAT ITS HOST CAN READ IS ACCEPTED: the appraisal policy allows debug',
  'public-test-signer':
    'ANYBODY CAN SIGN AN ENCLAVE THAT IS ACCEPTED: the appraisal policy allows the public test key',
  'unchecked-revocation':
    'A REVOKED SEV-SNP PLATFORM IS ACCEPTED: the appraisal policy allows unchecked revocation',
  'no-alias-check':
    'MEMORY ALIASING IS NOT RULED OUT: the appraisal policy allows SEV-SNP without the alias check',
  'outdated-platforms':
    'PLATFORMS WITH KNOWN HOLES ARE ACCEPTED: the appraisal policy allows a TCB that is out of date or revoked',
  'grace-periods':
    'EXPIRED COLLATERAL OR AN OLD TCB IS ACCEPTED FOR A WHILE: see the appraisal policy',
  'no-account-limit': 'ONE ACCOUNT MAY TAKE ALL OF THIS SERVICE: --rate-account is 0',
  'no-address-limit': 'ONE ADDRESS MAY TAKE ALL OF THIS SERVICE: --rate-address is 0',
  'public-metrics':
    'METRICS ARE SERVED BEYOND THIS MACHINE, IN CLEAR AND TO ANYBODY: --metrics-host',
} as const

/** The name of a choice that weakens a key service. */
export type WeakSwitch = keyof typeof WEAK_SWITCHES

/** What is looked at. */
interface Choices {
  readonly ehsm?: { readonly openEnrolment?: boolean; readonly openKeys?: boolean }
  readonly roots: readonly TrustRoot[]
  readonly rootKey: RootKeeping
  readonly postgres?: PostgresOptions
  readonly appraisal: AppraisalPolicy
  readonly rates: { readonly account: number; readonly address: number }
  readonly metrics?: { readonly host?: string }
}

const OUTDATED: ReadonlySet<string> = new Set([
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
])

/** Whether each of them is on. */
const IS_ON: Readonly<Record<WeakSwitch, (choices: Choices) => boolean>> = {
  'ehsm-open-enrolment': ({ ehsm }) => ehsm?.openEnrolment === true,
  'ehsm-open-keys': ({ ehsm }) => ehsm?.openKeys === true,
  'weak-database-tls': ({ postgres }) => postgres !== undefined && isWeak(postgres),
  'simulated-platform': ({ roots }) => roots.some(({ kind }) => kind === 'sim'),
  'root-key-file': ({ rootKey }) => rootKey.kind === 'file',
  'root-key-simulated': ({ rootKey }) => rootKey.kind === 'sealed' && rootKey.source.tee === 'sim',
  'debug-workloads': ({ appraisal: { enclaves = [], guests = [], tds = [] } }) =>
    [...enclaves, ...tds, ...guests].some(rule => rule.allowDebug === true),
  'public-test-signer': ({ appraisal: { enclaves = [] } }) =>
    enclaves.some(rule => rule.allowPublicTestSigner === true),
  'unchecked-revocation': ({ appraisal }) =>
    appraisal.snpPlatform?.allowUncheckedRevocation === true,
  'no-alias-check': ({ appraisal }) => appraisal.snpPlatform?.allowWithoutAliasCheck === true,
  'outdated-platforms': ({ appraisal }) =>
    appraisal.platform?.tcbStatuses.some(status => OUTDATED.has(status)) === true,
  'grace-periods': ({ appraisal: { platform } }) =>
    (platform?.platformGraceDays ?? 0) > 0 || (platform?.collateralGraceDays ?? 0) > 0,
  'no-account-limit': ({ rates }) => rates.account === 0,
  'no-address-limit': ({ rates }) => rates.address === 0,
  'public-metrics': ({ metrics }) => !isLoopback(metrics?.host),
}

const isLoopback = (host = '127.0.0.1') => host === '::1' || /^(127\.|localhost$)/.test(host)

/** Those that are on, in the order of the table. */
export function weakSwitchesOf(choices: Choices): readonly WeakSwitch[] {
  return (Object.keys(IS_ON) as WeakSwitch[]).filter(name => IS_ON[name](choices))
}
