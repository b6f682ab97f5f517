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

/** A demand that evidence does not meet. */
export interface Reason {
  readonly code: ReasonCode
  readonly wanted: string
  readonly seen: string
  /** The smallest change that would pass, of the policy or of the platform. */
  readonly change: string
}

/** For people: what a list allows. */
export function anyOf(allowed: readonly string[]): string {
  return allowed.length === 0 ? 'nothing is allowed' : allowed.join(' or ')
}

/** Lower-case hexadecimal digits. */
export function hexText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** A reason where bytes are not those named; those left out must be zero. */
export function* unlessNamed(
  code: ReasonCode,
  path: string,
  seen: Uint8Array,
  named: string | undefined,
): Iterable<Reason> {
  const text = hexText(seen)
  const wanted = named ?? '0'.repeat(text.length)
  if (text === wanted) return
  yield { code, wanted, seen: text, change: `name it: \`${path}: ${text}\`` }
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
  seen: Uint8Array,
  named: { readonly value: string; readonly mask: string } | undefined,
): Iterable<Reason> {
  if (named === undefined) return
  const mask = Buffer.from(named.mask, 'hex')
  const masked = (bytes: Uint8Array) => hexText(bytes.map((byte, at) => byte & (mask[at] ?? 0)))
  const wanted = masked(Buffer.from(named.value, 'hex'))
  if (masked(seen) === wanted) return
  yield {
    code,
    wanted: `${wanted} under mask ${named.mask}`,
    seen: hexText(seen),
    change: `\`${path}.value: ${hexText(seen)}\`, or leave those bits out of the mask`,
  }
}

/** A reason where something holds that is refused unless allowed. */
export function* unlessAllowed(
  code: ReasonCode,
  path: string,
  holds: boolean,
  allowed: boolean | undefined,
  [wanted, seen]: readonly [wanted: string, seen: string],
): Iterable<Reason> {
  if (holds && allowed !== true) {
    yield { code, wanted, seen, change: `\`${path}: true\` allows it, and weakens what it names` }
  }
}

/** A reason where a number is below the least allowed. */
export function* unlessAtLeast(
  code: ReasonCode,
  path: string,
  seen: number,
  least: number | undefined,
): Iterable<Reason> {
  if (least === undefined || seen >= least) return
  yield { code, wanted: `${least} or higher`, seen: `${seen}`, change: `\`${path}: ${seen}\`` }
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
 * @param none - The reason when no rule is of this workload.
 */
export function nearestReasons(verdicts: readonly RuleVerdict[], none: Reason): readonly Reason[] {
  const own = verdicts.filter(({ isOf }) => isOf).map(({ reasons }) => reasons)
  const [nearest] = own.sort((a, b) => a.length - b.length)
  return nearest ?? [none]
}
