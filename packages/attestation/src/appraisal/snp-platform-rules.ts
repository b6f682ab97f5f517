import { SNP_PLATFORM } from '../sev-snp/report.ts'
import { snpPartsBelow } from '../sev-snp/tcb.ts'
import { chipIdOf } from '../sev-snp/vek.ts'
import type { SnpClaims } from '../verify/claims.ts'
import type { SnpPlatformPolicy } from './policy.ts'
import { anyOf, hexText, type Reason, unlessAllowed } from './reasons.ts'

/** What a policy says against a platform of SEV-SNP. */
export function* snpPlatformReasons(
  claims: SnpClaims,
  policy: SnpPlatformPolicy | undefined,
): Iterable<Reason> {
  if (policy === undefined) {
    const change = `\`snpPlatform: { minTcb: { ${claims.product}: … } }\``
    yield { code: 'PLATFORM', wanted: 'nothing is allowed', seen: claims.tee, change }
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
  const chip = hexText(chipIdOf(claims.vek) ?? report.chipId)
  if (policy.chipIds?.includes(chip) === false) {
    const change = 'add it to `snpPlatform.chipIds`'
    yield { code: 'CHIP_ID', wanted: anyOf(policy.chipIds), seen: chip, change }
  }
}

/** Each of reported, committed and launch TCB counts: an older one can come back, or was there. */
function* tcbReasons({ product, tcb }: SnpClaims, { minTcb }: SnpPlatformPolicy): Iterable<Reason> {
  const least = minTcb[product]
  if (least === undefined) {
    const change = `name it in \`snpPlatform.minTcb.${product}\``
    yield { code: 'PRODUCT', wanted: anyOf(Object.keys(minTcb)), seen: product, change }
    return
  }
  for (const which of ['reported', 'committed', 'launch'] as const) {
    for (const part of snpPartsBelow(tcb[which], least)) {
      yield {
        code: 'SNP_TCB',
        wanted: `${which} ${part} ${least[part]} or higher`,
        seen: `${tcb[which][part] ?? 'none'}`,
        change: `update the platform's firmware, or lower \`snpPlatform.minTcb.${product}.${part}\``,
      }
    }
  }
}

function* flagReasons(
  { report }: SnpClaims,
  { demandedFlags = [], refusedFlags = [] }: SnpPlatformPolicy,
): Iterable<Reason> {
  for (const flag of demandedFlags) {
    if ((report.platformInfo & SNP_PLATFORM[flag]) !== 0n) continue
    const change = 'configure the platform so, or take it from `snpPlatform.demandedFlags`'
    yield { code: 'PLATFORM_INFO', wanted: flag, seen: `not ${flag}`, change }
  }
  for (const flag of refusedFlags) {
    if ((report.platformInfo & SNP_PLATFORM[flag]) === 0n) continue
    const change = 'configure the platform so, or take it from `snpPlatform.refusedFlags`'
    yield { code: 'PLATFORM_INFO', wanted: `not ${flag}`, seen: flag, change }
  }
}
