import { hexOf } from '../bytes/text.ts'
import { SNP_HOST_REQUESTED, SNP_POLICY, type SnpReport } from '../sev-snp/report.ts'
import type { GuestRule } from './policy.ts'
import {
  anyOf,
  editText,
  ifNamed,
  nearestReasons,
  type Reason,
  reasonOf,
  unlessAllowed,
  unlessAtLeast,
  unlessNamed,
} from './reasons.ts'

/** What the rules say against a SEV-SNP guest. */
export function guestReasons(report: SnpReport, rules: readonly GuestRule[]): readonly Reason[] {
  const measurement = hexOf(report.measurement)
  const verdicts = rules.map((rule, index) => ({
    isOf: rule.measurement === measurement,
    reasons: [...reasonsOf(report, rule, `guests[${index}]`)],
  }))
  return nearestReasons(verdicts, () => {
    const path = `guests[${rules.length}]`
    const wanted = anyOf(rules.map(rule => `MEASUREMENT ${rule.measurement}`))
    const unnamed = { code: 'MEASUREMENT', wanted, seen: `MEASUREMENT ${measurement}` } as const
    const rule = { measurement }
    return [reasonOf(unnamed, { path, value: rule }), ...reasonsOf(report, rule, path)]
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
    const edit = { path: `${path}.demandSingleSocket`, value: undefined }
    const told = { code: 'SINGLE_SOCKET', wanted: 'SINGLE_SOCKET', seen: 'any sockets' } as const
    yield { ...told, change: `launch the guest with it, or ${editText(edit)}`, edits: [edit] }
  }
  if (rule.refuseSmt === true && has(report, SNP_POLICY.smt)) {
    const edit = { path: `${path}.refuseSmt`, value: undefined }
    const wanted = 'a guest policy without SMT'
    const change = `launch the guest without it, or ${editText(edit)}`
    yield { code: 'GUEST_SMT', wanted, seen: 'SMT allowed', change, edits: [edit] }
  }
  yield* vmplReasons(report.vmpl, rule.maxVmpl ?? 0, path)
  yield* unlessAtLeast('GUEST_SVN', `${path}.minGuestSvn`, report.guestSvn, rule.minGuestSvn)
  yield* unlessNamed('HOST_DATA', `${path}.hostData`, report.hostData, rule.hostData)
  const { idKeyDigest, authorKeyDigest, familyId, imageId } = report
  yield* keyReasons('ID_KEY', `${path}.idKeyDigest`, idKeyDigest, rule.idKeyDigest)
  yield* keyReasons('AUTHOR_KEY', `${path}.authorKeyDigest`, authorKeyDigest, rule.authorKeyDigest)
  yield* ifNamed('FAMILY_ID', `${path}.familyId`, familyId, rule.familyId)
  yield* ifNamed('IMAGE_ID', `${path}.imageId`, imageId, rule.imageId)
}

/** A guest that nobody signed for is not to be taken for one that somebody did. */
function* keyReasons(
  code: 'ID_KEY' | 'AUTHOR_KEY',
  path: string,
  seen: Uint8Array,
  named: string | undefined,
): Iterable<Reason> {
  const unsigned = { change: 'launch the guest with an ID block of that signer', edits: [] }
  for (const reason of ifNamed(code, path, seen, named)) {
    yield seen.every(byte => byte === 0) ? { ...reason, ...unsigned } : reason
  }
}

/** A report that the host asked for has no VMPL, and proves nothing of a running guest. */
function* vmplReasons(vmpl: number, max: number, path: string): Iterable<Reason> {
  if (vmpl <= max) return
  const wanted = `0 to ${max}`
  if (vmpl === SNP_HOST_REQUESTED) {
    const seen = 'a report that the host asked for'
    yield { code: 'VMPL', wanted, seen, change: 'have the guest ask for its report', edits: [] }
    return
  }
  yield reasonOf(
    { code: 'VMPL', wanted, seen: `${vmpl}` },
    { path: `${path}.maxVmpl`, value: vmpl },
  )
}

function has({ policy }: SnpReport, bit: bigint): boolean {
  return (policy & bit) !== 0n
}
