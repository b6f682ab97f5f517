import { bytesOfHex, hexOf } from '../bytes/text.ts'
import type { Json } from '../canonical-json.ts'

/** Which demand was not met. */
export const REASON_CODES = [
  'TEE',
  'PLATFORM',
  'TCB_STATUS',
  'TCB_DATE',
  'TCB_EVALUATION_DATA_NUMBER',
  'ADVISORY',
  'COLLATERAL_EXPIRED',
  'DYNAMIC_PLATFORM',
  'CACHED_KEYS',
  'SMT',
  'SGX_TYPE',
  'PPID',
  'PLATFORM_INSTANCE_ID',
  'PRODUCT',
  'SNP_TCB',
  'REVOCATION_UNCHECKED',
  'ALIAS_CHECK',
  'PLATFORM_INFO',
  'CHIP_ID',
  'MEASUREMENT',
  'ISV_PROD_ID',
  'ISV_SVN',
  'DEBUG',
  'PUBLIC_TEST_SIGNER',
  'ATTRIBUTES',
  'MISC_SELECT',
  'CONFIG_ID',
  'CONFIG_SVN',
  'ISV_FAMILY_ID',
  'ISV_EXT_PROD_ID',
  'RTMR',
  'MR_SEAM',
  'TD_ATTRIBUTES',
  'SEPT_VE',
  'XFAM',
  'MR_CONFIG_ID',
  'MR_OWNER',
  'MR_OWNER_CONFIG',
  'SERVICE_TD',
  'HOST_DATA',
  'ID_KEY',
  'AUTHOR_KEY',
  'FAMILY_ID',
  'IMAGE_ID',
  'GUEST_SVN',
  'VMPL',
  'MIGRATION_AGENT',
  'SINGLE_SOCKET',
  'GUEST_SMT',
] as const

/** Which demand was not met. */
export type ReasonCode = (typeof REASON_CODES)[number]

/** A change of one member of a policy. */
export interface PolicyEdit {
  /** Where, as `enclaves[0].minIsvSvn`; the place after the last of a list adds to it. */
  readonly path: string
  /** What stands there then; `undefined`: nothing. */
  readonly value: Json | undefined
}

/** A demand that evidence does not meet. */
export interface Reason {
  readonly code: ReasonCode
  readonly wanted: string
  readonly seen: string
  /** The smallest change that would pass, of the policy or of the platform; for people. */
  readonly change: string
  /**
   * The same for programs, as far as it is one of the policy: with those of every reason, in their
   * order, the policy accepts the evidence. Empty where another policy would not help, or should not.
   */
  readonly edits: readonly PolicyEdit[]
}

/** A reason whose change is of the policy alone. */
export function reasonOf(
  { code, wanted, seen }: Pick<Reason, 'code' | 'wanted' | 'seen'>,
  ...edits: readonly PolicyEdit[]
): Reason {
  return { code, wanted, seen, change: edits.map(editText).join(' and '), edits }
}

/** A reason where something is not on a list of the policy, and can be put there. */
export function unlistedReason(
  code: ReasonCode,
  path: string,
  listed: readonly string[],
  seen: string,
): Reason {
  const edits = [{ path, value: [...listed, seen] }]
  return { code, wanted: anyOf(listed), seen, change: `add ${seen} to \`${path}\``, edits }
}

/** For people: an edit, as YAML writes it. */
export function editText({ path, value }: PolicyEdit): string {
  return value === undefined ? `leave \`${path}\` out` : `\`${path}: ${flowText(value)}\``
}

function flowText(value: Json): string {
  if (typeof value === 'string') {
    // Digits alone, or with one "e" among them, would be read as a number.
    return /^\d+(e\d+)?$/.test(value) ? JSON.stringify(value) : value
  }
  if (typeof value !== 'object') return String(value)
  if (isList(value)) return `[${value.map(flowText).join(', ')}]`
  const members = Object.entries(value).map(([name, member]) => `${name}: ${flowText(member)}`)
  return `{ ${members.join(', ')} }`
}

/** `Array.isArray` does not narrow a readonly array. */
function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/** For people: what a list allows. */
export function anyOf(allowed: readonly string[]): string {
  return allowed.length === 0 ? 'nothing is allowed' : allowed.join(' or ')
}

/** A reason where bytes are not those named; those left out must be zero. */
export function* unlessNamed(
  code: ReasonCode,
  path: string,
  bytes: Uint8Array,
  named: string | undefined,
): Iterable<Reason> {
  const seen = hexOf(bytes)
  const wanted = named ?? '0'.repeat(seen.length)
  if (seen !== wanted) yield reasonOf({ code, wanted, seen }, { path, value: seen })
}

/** A reason where bytes are named and are others. */
export function* ifNamed(
  code: ReasonCode,
  path: string,
  seen: Uint8Array,
  named: string | undefined,
): Iterable<Reason> {
  if (named !== undefined) yield* unlessNamed(code, path, seen, named)
}

/** A reason where bits under a mask are not those named. */
export function* unlessMasked(
  code: ReasonCode,
  path: string,
  bytes: Uint8Array,
  named: { readonly value: string; readonly mask: string } | undefined,
): Iterable<Reason> {
  if (named === undefined) return
  const mask = bytesOfHex(named.mask)
  const masked = (all: Uint8Array) => hexOf(all.map((byte, at) => byte & (mask[at] ?? 0)))
  const wanted = masked(bytesOfHex(named.value))
  if (masked(bytes) === wanted) return
  const seen = hexOf(bytes)
  const edit = { path: `${path}.value`, value: seen }
  const text = { code, wanted: `${wanted} under mask ${named.mask}`, seen }
  const change = `${editText(edit)}, or leave those bits out of the mask`
  yield { ...text, change, edits: [edit] }
}

/** A reason where something holds that is refused unless allowed. */
export function* unlessAllowed(
  code: ReasonCode,
  path: string,
  holds: boolean,
  allowed: boolean | undefined,
  [wanted, seen]: readonly [wanted: string, seen: string],
): Iterable<Reason> {
  if (!holds || allowed === true) return
  const edit = { path, value: true }
  const change = `${editText(edit)} allows it, and weakens what it names`
  yield { code, wanted, seen, change, edits: [edit] }
}

/** A reason where a number is below the least allowed. */
export function* unlessAtLeast(
  code: ReasonCode,
  path: string,
  seen: number,
  least: number | undefined,
): Iterable<Reason> {
  if (least === undefined || seen >= least) return
  yield reasonOf({ code, wanted: `${least} or higher`, seen: `${seen}` }, { path, value: seen })
}

/** What a rule says against a workload. */
export interface RuleVerdict {
  /** Whether the rule is of this workload: its measurement or signer is the rule's. */
  readonly isOf: boolean
  readonly reasons: readonly Reason[]
}

/**
 * One rule that is met suffices. Of several that are not, the reasons of the one that is nearest:
 * of this workload, and with the fewest.
 * @param none - The reasons when no rule is of this workload.
 */
export function nearestReasons(
  verdicts: readonly RuleVerdict[],
  none: () => readonly Reason[],
): readonly Reason[] {
  const own = verdicts.filter(({ isOf }) => isOf).map(({ reasons }) => reasons)
  const [nearest] = own.sort((a, b) => a.length - b.length)
  return nearest ?? none()
}
