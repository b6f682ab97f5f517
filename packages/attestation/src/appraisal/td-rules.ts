import { Reader } from '../bytes/reader.ts'
import { bytesOfHex, hexOf } from '../bytes/text.ts'
import { Writer } from '../bytes/writer.ts'
import { TD_ATTRIBUTES, TD_RESERVED, TD_UNTRUSTED, type TdReport } from '../tdx/td-report.ts'
import type { TdRule } from './policy.ts'
import {
  anyOf,
  ifNamed,
  nearestReasons,
  type Reason,
  reasonOf,
  unlessAllowed,
  unlessMasked,
  unlessNamed,
  unlistedReason,
} from './reasons.ts'

/** What the rules say against a trust domain. */
export function tdReasons(report: TdReport, rules: readonly TdRule[]): readonly Reason[] {
  const mrTd = hexOf(report.mrTd)
  const verdicts = rules.map((rule, index) => ({
    isOf: rule.mrTd === mrTd,
    reasons: [...reasonsOf(report, rule, `tds[${index}]`)],
  }))
  return nearestReasons(verdicts, () => {
    const path = `tds[${rules.length}]`
    const wanted = anyOf(rules.map(rule => `MRTD ${rule.mrTd}`))
    const unnamed = { code: 'MEASUREMENT', wanted, seen: `MRTD ${mrTd}` } as const
    return [reasonOf(unnamed, { path, value: { mrTd } }), ...reasonsOf(report, { mrTd }, path)]
  })
}

/** Whether the host can read the trust domain's memory. */
export function isDebugTd({ tdAttributes }: TdReport): boolean {
  return (tdAttributes & TD_UNTRUSTED) !== 0n
}

function* reasonsOf(report: TdReport, rule: TdRule, path: string): Iterable<Reason> {
  yield* unlessAllowed('DEBUG', `${path}.allowDebug`, isDebugTd(report), rule.allowDebug, [
    'no debug trust domain',
    'a debug trust domain',
  ])
  const rtmrs = ['rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const
  for (const [index, name] of rtmrs.entries()) {
    const seen = report.rtmrs[index] ?? new Uint8Array(48)
    yield* ifNamed('RTMR', `${path}.${name}`, seen, rule[name])
  }
  const mrSeam = hexOf(report.mrSeam)
  if (rule.mrSeams?.includes(mrSeam) === false) {
    yield unlistedReason('MR_SEAM', `${path}.mrSeams`, rule.mrSeams, mrSeam)
  }
  const septVe = (report.tdAttributes & TD_ATTRIBUTES.septVeDisable) === 0n
  yield* unlessAllowed('SEPT_VE', `${path}.allowSeptVe`, septVe, rule.allowSeptVe, [
    'SEPT_VE_DISABLE set',
    'clear: the host can raise exceptions in the TD',
  ])
  const attributes = u64le(report.tdAttributes)
  yield* reservedReasons(report, rule, `${path}.tdAttributes`)
  yield* unlessMasked('TD_ATTRIBUTES', `${path}.tdAttributes`, attributes, rule.tdAttributes)
  yield* unlessMasked('XFAM', `${path}.xfam`, u64le(report.xfam), rule.xfam)
  yield* unlessNamed('MR_CONFIG_ID', `${path}.mrConfigId`, report.mrConfigId, rule.mrConfigId)
  yield* unlessNamed('MR_OWNER', `${path}.mrOwner`, report.mrOwner, rule.mrOwner)
  const { mrOwnerConfig } = report
  yield* unlessNamed('MR_OWNER_CONFIG', `${path}.mrOwnerConfig`, mrOwnerConfig, rule.mrOwnerConfig)
  const serviceTd = report.version === '1.5' ? report.mrServiceTd : new Uint8Array(48)
  yield* unlessNamed('SERVICE_TD', `${path}.mrServiceTd`, serviceTd, rule.mrServiceTd)
}

/** Bits that a later module may give a meaning to: only a rule that names them knows it. */
function* reservedReasons(
  { tdAttributes }: TdReport,
  { tdAttributes: named }: TdRule,
  path: string,
): Iterable<Reason> {
  const mask = named === undefined ? 0n : u64from(named.mask)
  const unknown = tdAttributes & TD_RESERVED & ~mask
  if (unknown === 0n) return
  const value = hexOf(u64le(tdAttributes))
  const wanted = `none of the reserved bits ${hexOf(u64le(unknown))}`
  const edit = { path, value: { value, mask: hexOf(u64le(mask | unknown)) } }
  yield reasonOf({ code: 'TD_ATTRIBUTES', wanted, seen: value }, edit)
}

function u64from(hex: string): bigint {
  return new Reader(bytesOfHex(hex)).u64('mask')
}

function u64le(value: bigint): Uint8Array {
  return new Writer().u64('attributes', value).finish()
}
