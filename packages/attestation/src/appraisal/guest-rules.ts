import { SNP_HOST_REQUESTED, SNP_POLICY, type SnpReport } from '../sev-snp/report.ts'
import type { GuestRule } from './policy.ts'
import {
  anyOf,
  hexText,
  ifNamed,
  nearestReasons,
  type Reason,
  unlessAllowed,
  unlessAtLeast,
  unlessNamed,
} from './reasons.ts'

/** What the rules say against a SEV-SNP guest. */
export function guestReasons(report: SnpReport, rules: readonly GuestRule[]): readonly Reason[] {
  const measurement = hexText(report.measurement)
  const verdicts = rules.map((rule, index) => ({
    isOf: rule.measurement === measurement,
    reasons: [...reasonsOf(report, rule, `guests[${index}]`)],
  }))
  return nearestReasons(verdicts, {
    code: 'MEASUREMENT',
    wanted: anyOf(rules.map(rule => `MEASUREMENT ${rule.measurement}`)),
    seen: `MEASUREMENT ${measurement}`,
    change: `\`guests: [{ measurement: ${measurement} }]\``,
  })
}

/** Whether the host can read the guest's memory. */
export function isDebugGuest(report: SnpReport): boolean {
  return has(report, SNP_POLICY.debug)
}

function* reasonsOf(report: SnpReport, rule: GuestRule, path: string): Iterable<Reason> {
  yield* unlessAllowed('DEBUG', `${path}.allowDebug`, isDebugGuest(report), rule.allowDebug, [
    'a guest policy without DEBUG',
    'a guest policy with DEBUG',
  ])
  const migrates = has(report, SNP_POLICY.migrateMa)
  const allowMigration = `${path}.allowMigrationAgent`
  yield* unlessAllowed('MIGRATION_AGENT', allowMigration, migrates, rule.allowMigrationAgent, [
    'a guest policy without MIGRATE_MA',
    'a guest that a migration agent may move',
  ])
  if (rule.demandSingleSocket === true && !has(report, SNP_POLICY.singleSocket)) {
    const change = `launch the guest with it, or leave \`${path}.demandSingleSocket\` out`
    yield { code: 'SINGLE_SOCKET', wanted: 'SINGLE_SOCKET', seen: 'any sockets', change }
  }
  if (rule.refuseSmt === true && has(report, SNP_POLICY.smt)) {
    const change = `launch the guest without it, or leave \`${path}.refuseSmt\` out`
    yield { code: 'GUEST_SMT', wanted: 'a guest policy without SMT', seen: 'SMT allowed', change }
  }
  yield* vmplReasons(report.vmpl, rule.maxVmpl ?? 0, path)
  yield* unlessAtLeast('GUEST_SVN', `${path}.minGuestSvn`, report.guestSvn, rule.minGuestSvn)
  yield* unlessNamed('HOST_DATA', `${path}.hostData`, report.hostData, rule.hostData)
  yield* ifNamed('ID_KEY', `${path}.idKeyDigest`, report.idKeyDigest, rule.idKeyDigest)
  const { authorKeyDigest, familyId, imageId } = report
  yield* ifNamed('AUTHOR_KEY', `${path}.authorKeyDigest`, authorKeyDigest, rule.authorKeyDigest)
  yield* ifNamed('FAMILY_ID', `${path}.familyId`, familyId, rule.familyId)
  yield* ifNamed('IMAGE_ID', `${path}.imageId`, imageId, rule.imageId)
}

/** A report that the host asked for has no VMPL, and proves nothing of a running guest. */
function* vmplReasons(vmpl: number, max: number, path: string): Iterable<Reason> {
  if (vmpl <= max) return
  const ofHost = vmpl === SNP_HOST_REQUESTED
  const seen = ofHost ? 'a report that the host asked for' : `${vmpl}`
  const change = ofHost ? 'have the guest ask for its report' : `\`${path}.maxVmpl: ${vmpl}\``
  yield { code: 'VMPL', wanted: `0 to ${max}`, seen, change }
}

function has({ policy }: SnpReport, bit: bigint): boolean {
  return (policy & bit) !== 0n
}
