import { CollateralError } from './errors.ts'
import { asArray, asString } from './signed-json.ts'

/** Every TCB status, in the vendor's words. */
export const TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const

/** A platform's standing against its vendor's published levels, in the vendor's words. */
export type TcbStatus = (typeof TCB_STATUSES)[number]

/** Narrows a collateral member to a TCB status. @throws CollateralError FORMAT */
export function asTcbStatus(what: string, value: unknown): TcbStatus {
  const found = TCB_STATUSES.find(status => status === value)
  if (found === undefined) {
    throw new CollateralError('FORMAT', `${what}: wanted a TCB status`)
  }
  return found
}

/** Reads an optional list of advisory ids. @throws CollateralError FORMAT */
export function asAdvisoryIds(what: string, value: unknown): readonly string[] {
  return value === undefined ? [] : asArray(what, value).map(id => asString(what, id))
}

/**
 * Converges the platform's status with the quoting enclave's.
 * @see Intel's published quote verification algorithm, "converge TCB status with QE TCB status"
 */
export function convergeWithQe(platform: TcbStatus, qe: TcbStatus): TcbStatus {
  if (qe === 'Revoked') return 'Revoked'
  if (qe !== 'OutOfDate') return platform
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
