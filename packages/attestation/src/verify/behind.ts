import type { SgxTcbLevel, TcbInfo } from '../collateral/tcb-info.ts'
import type { SvnLevel, TcbLevelFacts } from '../collateral/tcb-level.ts'
import { PUBLISHED_TCB_STATUSES, type PublishedTcbStatus } from '../collateral/tcb-status.ts'
import { type Component, lacking } from './tcb-levels.ts'

/** How far one part of a platform is behind, and what would bring it to a better level. */
export interface TcbGap {
  readonly part: 'platform' | 'TDX module' | 'quoting enclave'
  /** Status of the nearest better level. */
  readonly status: PublishedTcbStatus
  /** Date of that level. */
  readonly tcbDate: Date
  /** What falls short of it, and by how much; the first is the one to mend first. */
  readonly lacks: readonly Component[]
}

/**
 * How far the platform is behind: the nearest better level above the one matched. `undefined` when
 * none is published, and configuration or software alone can help: the advisories say how.
 */
export function platformGap(
  info: TcbInfo,
  matched: SgxTcbLevel,
  components: (level: SgxTcbLevel) => readonly Component[],
): TcbGap | undefined {
  const better = nearestBetter<SgxTcbLevel>(info.levels, matched)
  if (better === undefined) return undefined
  const { status, tcbDate } = better
  return { part: 'platform', status, tcbDate, lacks: lacking(components(better)) }
}

/** How far an enclave or a TDX module is behind. */
export function svnGap(
  part: 'TDX module' | 'quoting enclave',
  levels: readonly SvnLevel[],
  matched: SvnLevel,
  has: number,
): TcbGap | undefined {
  const better = nearestBetter(levels, matched)
  if (better === undefined) return undefined
  const { status, tcbDate, isvSvn } = better
  return { part, status, tcbDate, lacks: [{ name: 'ISVSVN', has, wanted: isvSvn }] }
}

/** The statuses are listed from best to worst. */
function nearestBetter<Level extends TcbLevelFacts>(
  levels: readonly Level[],
  matched: Level,
): Level | undefined {
  const rank = ({ status }: Level) => PUBLISHED_TCB_STATUSES.indexOf(status)
  const above = levels.slice(0, levels.indexOf(matched))
  return above.findLast(level => rank(level) < rank(matched))
}
