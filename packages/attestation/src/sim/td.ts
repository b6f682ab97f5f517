import type { PartTcbStatus } from '../collateral/tcb-status.ts'
import { TD_ATTRIBUTES, type TdReport, type TdReport15 } from '../tdx/td-report.ts'

/** The TDX module of a simulated platform, and what it was when a trust domain was launched. */
export const SIM_TDX = { moduleSvn: 5, moduleMajor: 1, loaderSvn: 3 } as const

/** How the TDX module of a simulated platform stands. */
export interface SimTdxConditions {
  /** Status of the level that the module a TD was launched under matches; `UpToDate` unless told. */
  readonly moduleTcbStatus?: PartTcbStatus | 'NotSupported'
}

/** What a simulated trust domain is to report; what is left out is as of one in order. */
export interface SimTd extends Partial<Omit<TdReport15, 'version'>> {
  /** 1.5 unless told. */
  readonly version?: TdReport['version']
}

/** The report of a trust domain under module 1.05, to which it was updated under the running TD. */
export function simTdReport({ version = '1.5', ...td }: SimTd): TdReport {
  const svns = Uint8Array.of(SIM_TDX.moduleSvn, SIM_TDX.moduleMajor, SIM_TDX.loaderSvn)
  const teeTcbSvn = new Uint8Array(16)
  teeTcbSvn.set(svns)
  const { teeTcbSvn2 = teeTcbSvn, mrServiceTd = new Uint8Array(48), ...given } = td
  const common = {
    teeTcbSvn,
    mrSeam: new Uint8Array(48).fill(0x5e),
    mrSignerSeam: new Uint8Array(48),
    seamAttributes: new Uint8Array(8),
    tdAttributes: TD_ATTRIBUTES.septVeDisable,
    xfam: 0xe7n,
    mrTd: new Uint8Array(48),
    mrConfigId: new Uint8Array(48),
    mrOwner: new Uint8Array(48),
    mrOwnerConfig: new Uint8Array(48),
    rtmrs: [new Uint8Array(48), new Uint8Array(48), new Uint8Array(48), new Uint8Array(48)],
    reportData: new Uint8Array(64),
    ...given,
  } as const
  return version === '1.5'
    ? { version, ...common, teeTcbSvn2, mrServiceTd }
    : { version, ...common }
}
