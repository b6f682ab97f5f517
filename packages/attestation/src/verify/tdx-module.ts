import { hexOf } from '../bytes/text.ts'
import type { TdxModuleIdentity, TdxTcbInfo } from '../collateral/tcb-info.ts'
import { matchSvnLevel, type SvnLevel } from '../collateral/tcb-level.ts'
import type { TdReport } from '../tdx/td-report.ts'
import { sameBytes } from '../x509/der.ts'
import { EvidenceError } from './errors.ts'

/** Byte of TEE_TCB_SVN with the module's security version. */
export const MODULE_SVN = 0
/** Byte of TEE_TCB_SVN with the module's major version. */
export const MODULE_MAJOR = 1
/** Byte of TEE_TCB_SVN with the security version of the SEAM loader. */
export const LOADER_SVN = 2

/**
 * Step 6: the identity of the TDX module of a TD, which the report must be like. `undefined`: the
 * base module, of major version 0, whose versions the TCB levels count.
 */
export function requireTdxModule(
  report: TdReport,
  info: TdxTcbInfo,
): TdxModuleIdentity | undefined {
  const major = report.teeTcbSvn[MODULE_MAJOR] ?? 0
  const identity = major === 0 ? undefined : moduleOfMajor(info, major)
  const { mrSigner, attributes } = identity ?? info.tdxModule
  if (!sameBytes(report.mrSignerSeam, mrSigner)) {
    throw new EvidenceError(
      'TDX_MODULE',
      `MRSIGNERSEAM: wanted ${hexOf(mrSigner)}, saw ${hexOf(report.mrSignerSeam)}`,
    )
  }
  // Whatever the mask: the one value that a production module has is zero.
  for (const wanted of [attributes, new Uint8Array(8)]) {
    if (sameBytes(report.seamAttributes, wanted)) continue
    throw new EvidenceError(
      'TDX_MODULE',
      `SEAMATTRIBUTES: wanted ${hexOf(wanted)}, saw ${hexOf(report.seamAttributes)}`,
    )
  }
  return identity
}

/** The identity published for a major version above 0. @throws EvidenceError TDX_MODULE when none is */
export function moduleOfMajor(info: TdxTcbInfo, major: number): TdxModuleIdentity {
  const id = `TDX_${major.toString(16).padStart(2, '0').toUpperCase()}`
  const found = info.tdxModuleIdentities.find(identity => identity.id === id)
  if (found === undefined) {
    throw new EvidenceError('TDX_MODULE', `no identity of a TDX module of major version ${major}`)
  }
  return found
}

/** Step 12: the level that the module's version reaches. */
export function matchTdxModule(
  report: TdReport,
  identity: TdxModuleIdentity | undefined,
): SvnLevel | undefined {
  if (identity === undefined) return undefined
  const isvSvn = report.teeTcbSvn[MODULE_SVN] ?? 0
  const level = matchSvnLevel(identity.levels, isvSvn)
  if (level === undefined) {
    throw new EvidenceError(
      'TCB_NOT_SUPPORTED',
      `the TDX module ${identity.id} of ISVSVN ${isvSvn} reaches no published level`,
    )
  }
  return level
}
