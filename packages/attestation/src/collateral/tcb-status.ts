import { CollateralError } from './errors.ts'
import { asArray, asString } from './signed-json.ts'

/** The statuses that TCB levels are published with, in the vendor's words. */
export const PUBLISHED_TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const

/** The status of a published TCB level. */
export type PublishedTcbStatus = (typeof PUBLISHED_TCB_STATUSES)[number]

/**
 * The statuses that levels of a part are published with: of an enclave of the vendor's, or of a TDX
 * module. No part is configured or hardened.
 * @see Intel PCS API v4, enclave identity and TDX module identity, `tcbStatus`
 */
export const PART_TCB_STATUSES = ['UpToDate', 'OutOfDate', 'Revoked'] as const

/** The status of a part's published level. */
export type PartTcbStatus = (typeof PART_TCB_STATUSES)[number]

/** Every TCB status: published ones, and those derived for a TD whose module was updated under it. */
export const TCB_STATUSES = [
  ...PUBLISHED_TCB_STATUSES,
  'TDRelaunchAdvised',
  'TDRelaunchAdvisedConfigurationNeeded',
] as const

/** A platform's standing against its vendor's published levels, in the vendor's words. */
export type TcbStatus = (typeof TCB_STATUSES)[number]

/** Narrows a collateral member to one of some TCB statuses. @throws CollateralError FORMAT */
export function asTcbStatus<Status extends PublishedTcbStatus>(
  what: string,
  value: unknown,
  statuses: readonly Status[],
): Status {
  const found = statuses.find(status => status === value)
  if (found === undefined) {
    throw new CollateralError('FORMAT', `${what}: wanted ${statuses.join(' or ')}`)
  }
  return found
}

/** Reads an optional list of advisory ids. @throws CollateralError FORMAT */
export function asAdvisoryIds(what: string, value: unknown): readonly string[] {
  return value === undefined ? [] : asArray(what, value).map(id => asString(what, id))
}

/**
 * Converges the platform's status with that of a part of it: the TDX module or the quoting enclave.
 * @see Intel's published quote verification algorithm, "converge TCB status"
 */
export function convergeWith(
  platform: PublishedTcbStatus,
  part: PartTcbStatus,
): PublishedTcbStatus {
  switch (part) {
    case 'UpToDate':
      return platform
    case 'Revoked':
      return 'Revoked'
    case 'OutOfDate':
      return outOfDate(platform)
  }
}

function outOfDate(platform: PublishedTcbStatus): PublishedTcbStatus {
  switch (platform) {
    case 'UpToDate':
    case 'SWHardeningNeeded':
      return 'OutOfDate'
    case 'ConfigurationNeeded':
    case 'ConfigurationAndSWHardeningNeeded':
      return 'OutOfDateConfigurationNeeded'
    case 'OutOfDate':
    case 'OutOfDateConfigurationNeeded':
    case 'Revoked':
      return platform
  }
}

/** Whether a published status is of a level that newer ones have replaced. */
export function isOutOfDate(status: PublishedTcbStatus): boolean {
  return status === 'OutOfDate' || status === 'OutOfDateConfigurationNeeded'
}

/** Whether a published status asks for another configuration. */
export function needsConfiguration(status: PublishedTcbStatus): boolean {
  return (
    status === 'ConfigurationNeeded' ||
    status === 'ConfigurationAndSWHardeningNeeded' ||
    status === 'OutOfDateConfigurationNeeded'
  )
}
