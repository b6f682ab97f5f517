import { hexOf } from '../bytes/text.ts'
import { isOutOfDate } from '../collateral/tcb-status.ts'
import type { QuoteClaims } from '../verify/claims.ts'
import { SGX_TYPES } from '../x509/pck.ts'
import { MAX_GRACE_DAYS, type QuotePlatformPolicy } from './policy.ts'
import {
  anyOf,
  editText,
  type Reason,
  reasonOf,
  unlessAllowed,
  unlessAtLeast,
  unlistedReason,
} from './reasons.ts'

/** Milliseconds of a day. */
export const DAY_MS = 24 * 60 * 60 * 1000

/** What a policy says against a platform of SGX or TDX. */
export function* quotePlatformReasons(
  claims: QuoteClaims,
  policy: QuotePlatformPolicy | undefined,
): Iterable<Reason> {
  if (policy === undefined) {
    const least = { tcbStatuses: ['UpToDate'] } as const
    const told = { code: 'PLATFORM', wanted: anyOf([]), seen: claims.tee } as const
    yield reasonOf(told, { path: 'platform', value: least })
    yield* quotePlatformReasons(claims, least)
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
  const { tcbStatuses, platformGraceDays: days } = policy
  if (!tcbStatuses.includes(seen)) {
    const reason = unlistedReason('TCB_STATUS', 'platform.tcbStatuses', tcbStatuses, seen)
    yield { ...reason, change: [reason.change, ...remedies(claims)].join(', or ') }
  }
  const end = platformGraceEnd(claims, policy)
  if (end === undefined || verifiedAt.getTime() <= end.getTime()) return
  const tcbDate = oldestDate(claims)
  const age = Math.ceil((verifiedAt.getTime() - tcbDate.getTime()) / DAY_MS)
  // The two kinds of grace exclude each other, and each has a most.
  const noMore = age > MAX_GRACE_DAYS || lateBy(claims) > 0 || (policy.collateralGraceDays ?? 0) > 0
  const edit = { path: 'platform.platformGraceDays', value: noMore ? undefined : age }
  yield {
    code: 'TCB_STATUS',
    wanted: `out of date for at most ${days} days`,
    seen: `${age} days since ${tcbDate.toISOString()}`,
    change: [editText(edit), ...remedies(claims)].join(', or '),
    edits: [edit],
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
function remedies({ behind, tcbStatus }: QuoteClaims): readonly string[] {
  const isUpdated = tcbStatus.startsWith('TDRelaunchAdvised')
  return behind.map(({ part, status, lacks }) => {
    if (part === 'TDX module' && isUpdated) {
      return 'relaunch the trust domain, as the TDX module was updated under it'
    }
    const what = lacks.map(({ name, has, wanted }) => `${name} ${has} to ${wanted}`).join(', ')
    return `update the ${part} (${what}) to be ${status}`
  })
}

function* dateReasons(claims: QuoteClaims, { minTcbDate }: QuotePlatformPolicy): Iterable<Reason> {
  const tcbDate = oldestDate(claims)
  if (minTcbDate === undefined || tcbDate.getTime() >= new Date(minTcbDate).getTime()) return
  const seen = tcbDate.toISOString()
  const edit = { path: 'platform.minTcbDate', value: seen.slice(0, 10) }
  yield reasonOf({ code: 'TCB_DATE', wanted: `${minTcbDate} or later`, seen }, edit)
}

function* advisoryReasons(
  { advisoryIds }: QuoteClaims,
  { acceptedAdvisories: accepted, refusedAdvisories: refused = [] }: QuotePlatformPolicy,
): Iterable<Reason> {
  const named = advisoryIds.filter(id => refused.includes(id))
  const unnamed = advisoryIds.filter(id => accepted?.includes(id) === false)
  if (named.length === 0 && unnamed.length === 0) return
  const left = refused.filter(id => !named.includes(id))
  const edits = [
    ...(named.length === 0 ? [] : [{ path: 'platform.refusedAdvisories', value: left }]),
    ...(unnamed.length === 0
      ? []
      : [{ path: 'platform.acceptedAdvisories', value: [...(accepted ?? []), ...unnamed] }]),
  ]
  yield {
    code: 'ADVISORY',
    wanted:
      accepted === undefined ? `none of ${refused.join(', ')}` : `none but ${accepted.join(', ')}`,
    seen: [...new Set([...named, ...unnamed])].join(', '),
    change: `mend the platform as the advisories say, or ${edits.map(editText).join(' and ')}`,
    edits,
  }
}

/** Verification let it pass only if it was told to; how long is for the policy to say. */
function* collateralReasons(
  claims: QuoteClaims,
  { collateralGraceDays = 0, platformGraceDays = 0 }: QuotePlatformPolicy,
): Iterable<Reason> {
  const late = lateBy(claims)
  if (late <= collateralGraceDays * DAY_MS) return
  const days = Math.ceil(late / DAY_MS)
  const canWait = days <= MAX_GRACE_DAYS && platformGraceDays === 0
  const edits = canWait ? [{ path: 'platform.collateralGraceDays', value: days }] : []
  yield {
    code: 'COLLATERAL_EXPIRED',
    wanted: `expired for at most ${collateralGraceDays} days`,
    seen: `expired on ${claims.earliestExpiration.toISOString()}`,
    change: ['fetch new collateral', ...edits.map(editText)].join(', or '),
    edits,
  }
}

/** Milliseconds since the first input of evidence expired; negative before. */
function lateBy({ earliestExpiration, verifiedAt }: QuoteClaims): number {
  return verifiedAt.getTime() - earliestExpiration.getTime()
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
  { ppids, platformInstanceIds, sgxTypes }: QuotePlatformPolicy,
): Iterable<Reason> {
  const type = SGX_TYPES[pck.sgxType]
  if (type !== undefined && sgxTypes?.includes(type) === false) {
    yield unlistedReason('SGX_TYPE', 'platform.sgxTypes', sgxTypes, type)
  }
  const ppid = hexOf(pck.ppid)
  if (ppids?.includes(ppid) === false) {
    yield unlistedReason('PPID', 'platform.ppids', ppids, ppid)
  }
  if (platformInstanceIds === undefined) return
  const path = 'platform.platformInstanceIds'
  const code = 'PLATFORM_INSTANCE_ID'
  if (pck.platformInstanceId === undefined) {
    // Of a platform of one processor, which has none that could be listed.
    const told = { code, wanted: anyOf(platformInstanceIds), seen: 'none' } as const
    yield reasonOf(told, { path, value: undefined })
    return
  }
  const id = hexOf(pck.platformInstanceId)
  if (!platformInstanceIds.includes(id)) yield unlistedReason(code, path, platformInstanceIds, id)
}
