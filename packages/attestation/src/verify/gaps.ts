import type { SgxTcbLevel, TdxModuleIdentity } from '../collateral/tcb-info.ts'
import type { SvnLevel } from '../collateral/tcb-level.ts'
import type { Quote } from '../quote/quote.ts'
import type { PckExtension } from '../x509/pck.ts'
import { platformGap, svnGap, type TcbGap } from './behind.ts'
import type { Documents } from './documents.ts'
import { componentsOf } from './tcb-levels.ts'
import { MODULE_SVN } from './tdx-module.ts'

/** What was matched, of each part. */
interface Matched {
  readonly quote: Quote
  readonly documents: Documents
  readonly pck: PckExtension
  readonly platform: SgxTcbLevel
  readonly qeLevel: SvnLevel
  readonly module: TdxModuleIdentity | undefined
  readonly moduleLevel: SvnLevel | undefined
}

/** How far each part is behind the nearest better level of its own; none for what is up to date. */
export function gapsOf(matched: Matched): readonly TcbGap[] {
  const { quote, documents, pck, platform, qeLevel, module, moduleLevel } = matched
  const td = quote.body.kind === 'td' ? quote.body.report : undefined
  const moduleGap =
    td === undefined || module === undefined || moduleLevel === undefined
      ? undefined
      : svnGap('TDX module', module.levels, moduleLevel, td.teeTcbSvn[MODULE_SVN] ?? 0)
  return [
    platformGap(documents.tcbInfo, platform, level => componentsOf(level, pck, td)),
    moduleGap,
    svnGap('quoting enclave', documents.qeIdentity.levels, qeLevel, quote.qeReport.isvSvn),
  ].filter(gap => gap !== undefined)
}
