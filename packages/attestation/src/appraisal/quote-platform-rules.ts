import { isOutOfDate } from '../collateral/tcb-status.ts'
import type { QuoteClaims } from '../verify/claims.ts'
import type { QuotePlatformPolicy } from './policy.ts'
import { anyOf, hexText, type Reason, unlessAllowed, unlessAtLeast } from './reasons.ts'

/** Milliseconds of a day. */
export const DAY_MS = 24 * 60 * 60 * 1000

/** What a policy says against a platform of SGX or TDX. */
export function* quotePlatformReasons(
  claims: QuoteClaims,
  policy: QuotePlatformPolicy | undefined,
): Iterable<Reason> {
  if (policy === undefined) {
    const change = '`platform: { tcbStatuses: [UpToDate] }`'
    yield { code: 'PLATFORM', wanted: 'nothing is allowed', seen: claims.tee, change }
    return
  }
  yield* statusReasons(claims, policy)
  yield* dateReasons(claims, policy)
  const number = Math.min(claims.tcbEvaluationDataNumber, claims.qeTcbEvaluationDataNumber)
  const least = policy.minTcbEvaluationDataNumber
  const numberPath = 'platform.minTcbEvaluationDataNumber'
  yield* unlessAtLeast('TCB_EVALUATION_DATA_NUMBER', numberPath, number, least)
  yield* advisoryReasons(claims, policy)
  yield* collateralReasons(claims, policy)
  yield* configurationReasons(claims, policy)
  yield* listReasons(claims, policy)
}

/**
 * The day up to which the whole platform has every fix: that of its level, or of a TDX module or
 * quoting enclave that is older and out of date. A fresh level must not hide an old module.
 */
function oldestDate(claims: QuoteClaims): Date {
  const { tcbDate, qeTcbStatus, qeTcbDate } = claims
  const module = claims.kind === 'td' ? claims.tdxModule : undefined
  const dates = [
    tcbDate,
    ...(isOutOfDate(qeTcbStatus) ? [qeTcbDate] : []),
    ...(module?.tcbDate !== undefined && isOutOfDate(module.tcbStatus) ? [module.tcbDate] : []),
  ]
  return new Date(Math.min(...dates.map(date => date.getTime())))
}

/** An out-of-date platform passes within the grace period after {@link oldestDate}. */
function* statusReasons(claims: QuoteClaims, policy: QuotePlatformPolicy): Iterable<Reason> {
  const { tcbStatus: seen, verifiedAt } = claims
  const tcbDate = oldestDate(claims)
  const { tcbStatuses, platformGraceDays: days } = policy
  if (!tcbStatuses.includes(seen)) {
    const change = [`add ${seen} to \`platform.tcbStatuses\``, ...remedies(claims)].join(', or ')
    yield { code: 'TCB_STATUS', wanted: anyOf(tcbStatuses), seen, change }
    return
  }
  const end = platformGraceEnd(claims, policy)
  if (end === undefined || verifiedAt.getTime() <= end.getTime()) return
  const age = Math.floor((verifiedAt.getTime() - tcbDate.getTime()) / DAY_MS)
  yield {
    code: 'TCB_STATUS',
    wanted: `out of date for at most ${days} days`,
    seen: `${age} days since ${tcbDate.toISOString()}`,
    change: [`\`platform.platformGraceDays: ${age + 1}\``, ...remedies(claims)].join(', or '),
  }
}

/** When a policy's grace for an out-of-date platform ends; `undefined` where there is none to end. */
export function platformGraceEnd(
  claims: QuoteClaims,
  { platformGraceDays: days }: QuotePlatformPolicy,
): Date | undefined {
  const { tcbStatus } = claims
  const isOld = tcbStatus === 'OutOfDate' || tcbStatus === 'OutOfDateConfigurationNeeded'
  if (!isOld || days === undefined) return undefined
  return new Date(oldestDate(claims).getTime() + days * DAY_MS)
}

/** What would bring each part that is behind to a better level. */
function remedies({ behind }: QuoteClaims): readonly string[] {
  return behind.map(({ part, status, lacks }) => {
    const what = lacks.map(({ name, has, wanted }) => `${name} ${has} to ${wanted}`).join(', ')
    return `update the ${part} (${what}) to be ${status}`
  })
}

function* dateReasons(claims: QuoteClaims, { minTcbDate }: QuotePlatformPolicy): Iterable<Reason> {
  const tcbDate = oldestDate(claims)
  if (minTcbDate === undefined || tcbDate.getTime() >= new Date(minTcbDate).getTime()) return
  const seen = tcbDate.toISOString()
  const change = `\`platform.minTcbDate: ${seen.slice(0, 10)}\``
  yield { code: 'TCB_DATE', wanted: `${minTcbDate} or later`, seen, change }
}

function* advisoryReasons(
  { advisoryIds }: QuoteClaims,
  { acceptedAdvisories, refusedAdvisories = [] }: QuotePlatformPolicy,
): Iterable<Reason> {
  const refused = advisoryIds.filter(
    id => refusedAdvisories.includes(id) || acceptedAdvisories?.includes(id) === false,
  )
  if (refused.length === 0) return
  yield {
    code: 'ADVISORY',
    wanted:
      acceptedAdvisories === undefined
        ? `none of ${refusedAdvisories.join(', ')}`
        : `none but ${acceptedAdvisories.join(', ')}`,
    seen: refused.join(', '),
    change: 'mend the platform as the advisories say, or change the lists of advisories',
  }
}

/** Verification let it pass only if it was told to; how long is for the policy to say. */
function* collateralReasons(
  { earliestExpiration, verifiedAt }: QuoteClaims,
  { collateralGraceDays = 0 }: QuotePlatformPolicy,
): Iterable<Reason> {
  const late = verifiedAt.getTime() - earliestExpiration.getTime()
  if (late <= collateralGraceDays * DAY_MS) return
  yield {
    code: 'COLLATERAL_EXPIRED',
    wanted: `expired for at most ${collateralGraceDays} days`,
    seen: `expired on ${earliestExpiration.toISOString()}`,
    change: 'fetch new collateral',
  }
}

function* configurationReasons(
  { pck }: QuoteClaims,
  policy: QuotePlatformPolicy,
): Iterable<Reason> {
  const {
    dynamicPlatform = false,
    cachedKeys = false,
    smtEnabled = false,
  } = pck.configuration ?? {}
  const { allowDynamicPlatform, allowCachedKeys, allowSmt } = policy
  const dynamicPath = 'platform.allowDynamicPlatform'
  yield* unlessAllowed('DYNAMIC_PLATFORM', dynamicPath, dynamicPlatform, allowDynamicPlatform, [
    'a platform whose processors stay',
    'a platform to which processors can be added',
  ])
  yield* unlessAllowed('CACHED_KEYS', 'platform.allowCachedKeys', cachedKeys, allowCachedKeys, [
    'keys that the vendor does not keep',
    'platform keys cached by the vendor',
  ])
  yield* unlessAllowed('SMT', 'platform.allowSmt', smtEnabled, allowSmt, [
    'no simultaneous multithreading',
    'simultaneous multithreading',
  ])
}

function* listReasons(
  { pck }: QuoteClaims,
  { ppids, platformInstanceIds }: QuotePlatformPolicy,
): Iterable<Reason> {
  const ppid = hexText(pck.ppid)
  if (ppids?.includes(ppid) === false) {
    yield { code: 'PPID', wanted: anyOf(ppids), seen: ppid, change: 'add it to `platform.ppids`' }
  }
  const id = pck.platformInstanceId === undefined ? 'none' : hexText(pck.platformInstanceId)
  if (platformInstanceIds?.includes(id) === false) {
    const change = 'add it to `platform.platformInstanceIds`'
    yield { code: 'PLATFORM_INSTANCE_ID', wanted: anyOf(platformInstanceIds), seen: id, change }
  }
}
