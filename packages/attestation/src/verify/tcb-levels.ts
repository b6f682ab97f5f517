import type { SgxTcbLevel, TcbInfo, TdxTcbLevel } from '../collateral/tcb-info.ts'
import type { TdReport } from '../tdx/td-report.ts'
import type { PckExtension } from '../x509/pck.ts'
import { EvidenceError } from './errors.ts'
import { LOADER_SVN, MODULE_MAJOR } from './tdx-module.ts'

/** A security version that a platform has and a level wants. */
export interface Component {
  readonly name: string
  readonly has: number
  readonly wanted: number
}

/** The published levels that a platform reaches. */
export interface MatchedLevels {
  /** Highest level reached by the processor's components and PCESVN. */
  readonly sgx: SgxTcbLevel
  /** SGX: the same. TDX: the highest level that the TDX components reach too. */
  readonly platform: SgxTcbLevel | TdxTcbLevel
}

/** Step 11: the levels that the platform reaches. `td` is given exactly for a TD's quote. */
export function matchTcbLevels(info: TcbInfo, pck: PckExtension, td?: TdReport): MatchedLevels {
  const sgx = info.levels.find(level => lacking(sgxComponents(level, pck)).length === 0)
  if (sgx === undefined) {
    throw new EvidenceError('TCB_NOT_SUPPORTED', 'the platform reaches no published TCB level')
  }
  if (td === undefined) return { sgx, platform: sgx }
  // A level above the SGX level wants more of the processor than it has.
  const platform = info.levels.find(level => lacking(componentsOf(level, pck, td)).length === 0)
  if (platform === undefined) {
    throw new EvidenceError('TCB_NOT_SUPPORTED', 'the TD reaches no published TCB level')
  }
  return { sgx, platform }
}

/** Every component a level asks for, beside what the platform has. */
export function componentsOf(
  level: SgxTcbLevel | TdxTcbLevel,
  pck: PckExtension,
  td?: TdReport,
): readonly Component[] {
  const sgx = sgxComponents(level, pck)
  if (td === undefined || !('tdxComponents' in level)) return sgx
  // The first two are the module's, which has an identity and levels of its own from major 1 on.
  const from = (td.teeTcbSvn[MODULE_MAJOR] ?? 0) > 0 ? LOADER_SVN : 0
  const tdx = level.tdxComponents.map((wanted, index) => ({
    name: `TDX component ${index + 1}`,
    has: td.teeTcbSvn[index] ?? 0,
    wanted,
  }))
  return [...sgx, ...tdx.slice(from)]
}

function sgxComponents(level: SgxTcbLevel, pck: PckExtension): readonly Component[] {
  const components = level.components.map((wanted, index) => ({
    name: `SGX component ${index + 1}`,
    has: pck.tcbComponents[index] ?? -1,
    wanted,
  }))
  return [...components, { name: 'PCESVN', has: pck.pcesvn, wanted: level.pceSvn }]
}

/** Those components that fall short. */
export function lacking(components: readonly Component[]): readonly Component[] {
  return components.filter(({ has, wanted }) => has < wanted)
}
