import { hexOf } from '../bytes/text.ts'
import { SNP_PLATFORM } from '../sev-snp/report.ts'
import { type SnpTcb, snpPartsBelow } from '../sev-snp/tcb.ts'
import { chipIdOf } from '../sev-snp/vek.ts'
import type { SnpClaims } from '../verify/claims.ts'
import type { SNP_PLATFORM_FLAGS, SnpPlatformPolicy } from './policy.ts'
import { anyOf, editText, type Reason, reasonOf, unlessAllowed, unlistedReason } from './reasons.ts'

type SnpPlatformFlag = (typeof SNP_PLATFORM_FLAGS)[number]

/** What a policy says against a platform of SEV-SNP. */
export function* snpPlatformReasons(
  claims: SnpClaims,
  policy: SnpPlatformPolicy | undefined,
): Iterable<Reason> {
  if (policy === undefined) {
    const least = { minTcb: { [claims.product]: lowestOf(claims) } }
    const told = { code: 'PLATFORM', wanted: anyOf([]), seen: claims.tee } as const
    yield reasonOf(told, { path: 'snpPlatform', value: least })
    yield* snpPlatformReasons(claims, least)
    return
  }
  yield* tcbReasons(claims, policy)
  const { revocation, report } = claims
  const { allowUncheckedRevocation, allowWithoutAliasCheck } = policy
  const unchecked = 'snpPlatform.allowUncheckedRevocation'
  yield* unlessAllowed(
    ...(['REVOCATION_UNCHECKED', unchecked, !revocation.checked] as const),
    allowUncheckedRevocation,
    ['a revocation list that was checked', 'none was given'],
  )
  const noAlias = (report.platformInfo & SNP_PLATFORM.aliasCheckComplete) === 0n
  const without = 'snpPlatform.allowWithoutAliasCheck'
  yield* unlessAllowed('ALIAS_CHECK', without, noAlias, allowWithoutAliasCheck, [
    'memory checked for aliases',
    'not checked: modules that lie about their size go unnoticed',
  ])
  yield* flagReasons(claims, policy)
  // A host may mask the id in the report; the certificate of the key that signed names the chip.
  const chip = hexOf(chipIdOf(claims.vek) ?? report.chipId)
  if (policy.chipIds?.includes(chip) === false) {
    yield unlistedReason('CHIP_ID', 'snpPlatform.chipIds', policy.chipIds, chip)
  }
}

const COUNTED = ['reported', 'committed', 'launch'] as const

/** The lowest that each part was or is, of those that count. */
function lowestOf({ tcb }: SnpClaims) {
  const least = (part: keyof SnpTcb) => Math.min(...COUNTED.map(which => tcb[which][part] ?? 0))
  return {
    bootLoader: least('bootLoader'),
    tee: least('tee'),
    snp: least('snp'),
    microcode: least('microcode'),
    ...(tcb.reported.fmc === undefined ? {} : { fmc: least('fmc') }),
  }
}

/** Each of reported, committed and launch TCB counts: an older one can come back, or was there. */
function* tcbReasons(claims: SnpClaims, { minTcb }: SnpPlatformPolicy): Iterable<Reason> {
  const { product, tcb } = claims
  const path = `snpPlatform.minTcb.${product}`
  const lowest: SnpTcb = lowestOf(claims)
  const least = minTcb[product]
  if (least === undefined) {
    const told = { code: 'PRODUCT', wanted: anyOf(Object.keys(minTcb)), seen: product } as const
    yield reasonOf(told, { path, value: lowestOf(claims) })
    return
  }
  for (const which of COUNTED) {
    for (const part of snpPartsBelow(tcb[which], least)) {
      const edit = { path: `${path}.${part}`, value: lowest[part] }
      yield {
        code: 'SNP_TCB',
        wanted: `${which} ${part} ${least[part]} or higher`,
        seen: `${tcb[which][part] ?? 'none'}`,
        change: `update the platform's firmware, or ${editText(edit)}`,
        edits: [edit],
      }
    }
  }
}

function* flagReasons(
  { report }: SnpClaims,
  { demandedFlags = [], refusedFlags = [] }: SnpPlatformPolicy,
): Iterable<Reason> {
  const isSet = (flag: SnpPlatformFlag) => (report.platformInfo & SNP_PLATFORM[flag]) !== 0n
  const reason = (list: string, value: readonly string[], wanted: string, seen: string): Reason => {
    const edit = { path: `snpPlatform.${list}`, value }
    const change = `configure the platform so, or ${editText(edit)}`
    return { code: 'PLATFORM_INFO', wanted, seen, change, edits: [edit] }
  }
  const kept = demandedFlags.filter(isSet)
  for (const flag of demandedFlags) {
    if (!isSet(flag)) yield reason('demandedFlags', kept, flag, `not ${flag}`)
  }
  const left = refusedFlags.filter(flag => !isSet(flag))
  for (const flag of refusedFlags) {
    if (isSet(flag)) yield reason('refusedFlags', left, `not ${flag}`, flag)
  }
}
