import type { TdxTcbInfo } from '../collateral/tcb-info.ts'
import type { SvnLevel } from '../collateral/tcb-level.ts'
import {
  convergeWith,
  isOutOfDate,
  needsConfiguration,
  type PublishedTcbStatus,
  type TcbStatus,
} from '../collateral/tcb-status.ts'
import type { TdReport } from '../tdx/td-report.ts'
import type { MatchedLevels } from './tcb-levels.ts'
import { LOADER_SVN, MODULE_MAJOR, MODULE_SVN, moduleOfMajor } from './tdx-module.ts'

/** What a TD adds to the parts that a status converges from. */
export interface TdParts {
  readonly report: TdReport
  readonly tcbInfo: TdxTcbInfo
  /** `undefined` for the base module. */
  readonly moduleLevel: SvnLevel | undefined
}

/** Step 13: one status of platform, TDX module and quoting enclave. */
export function convergedStatus(
  levels: MatchedLevels,
  qe: SvnLevel,
  td: TdParts | undefined,
): TcbStatus {
  const platform = levels.platform.status
  if (td === undefined) return convergeWith(platform, qe.status)
  const module = td.moduleLevel?.status ?? 'UpToDate'
  const withModule = convergeWith(platform, module)
  const sgx = levels.sgx.status
  const onlyModuleIsOld =
    qe.status === 'UpToDate' &&
    !isOutOfDate(sgx) &&
    sgx !== 'Revoked' &&
    isOutOfDate(withModule) &&
    module === 'OutOfDate'
  if (onlyModuleIsOld && runsOnNewest(td)) return relaunchAdvised(sgx, withModule)
  return convergeWith(withModule, qe.status)
}

function relaunchAdvised(sgx: PublishedTcbStatus, converged: PublishedTcbStatus): TcbStatus {
  return needsConfiguration(sgx) || needsConfiguration(converged)
    ? 'TDRelaunchAdvisedConfigurationNeeded'
    : 'TDRelaunchAdvised'
}

/**
 * Whether the module was updated under the running TD to the newest published: a relaunch alone
 * brings the TD up to date.
 * @throws EvidenceError TDX_MODULE when no identity of the module that runs now is published
 */
function runsOnNewest({ report, tcbInfo }: TdParts): boolean {
  const [top] = tcbInfo.levels
  if (report.version !== '1.5' || top === undefined) return false
  const now = (index: number) => report.teeTcbSvn2[index] ?? 0
  const least = (index: number) => top.tdxComponents[index] ?? 0
  if (now(LOADER_SVN) < least(LOADER_SVN)) return false
  const major = now(MODULE_MAJOR)
  if (major === 0) return now(MODULE_SVN) >= least(MODULE_SVN)
  const [newest] = moduleOfMajor(tcbInfo, major).levels
  return newest !== undefined && now(MODULE_SVN) >= newest.isvSvn
}
