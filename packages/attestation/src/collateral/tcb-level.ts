import { asHex, asInstant, asInteger, asObject, type JsonObject } from './signed-json.ts'
import { asAdvisoryIds, asTcbStatus, type PublishedTcbStatus } from './tcb-status.ts'

/** What every published level says. */
export interface TcbLevelFacts {
  readonly tcbDate: Date
  readonly status: PublishedTcbStatus
  readonly advisoryIds: readonly string[]
}

/** A level of an enclave or of a TDX module, told by its security version alone. */
export interface SvnLevel extends TcbLevelFacts {
  readonly isvSvn: number
}

/** Reads what every level says. @throws CollateralError FORMAT */
export function levelFacts(level: JsonObject): TcbLevelFacts {
  return {
    tcbDate: asInstant('tcbDate', level['tcbDate']),
    status: asTcbStatus('tcbStatus', level['tcbStatus']),
    advisoryIds: asAdvisoryIds('advisoryIDs', level['advisoryIDs']),
  }
}

/** Reads levels told by ISVSVN, the highest first. @throws CollateralError FORMAT */
export function svnLevels(levels: readonly unknown[], maxSvn: number): readonly SvnLevel[] {
  return levels
    .map(value => {
      const level = asObject('tcbLevels', value)
      const isvSvn = asInteger('isvsvn', asObject('tcb', level['tcb'])['isvsvn'], maxSvn)
      return { isvSvn, ...levelFacts(level) }
    })
    .sort((a, b) => b.isvSvn - a.isvSvn)
}

/** The highest level that `isvSvn` reaches, or `undefined` when none. */
export function matchSvnLevel(levels: readonly SvnLevel[], isvSvn: number): SvnLevel | undefined {
  return levels.find(level => isvSvn >= level.isvSvn)
}

/** When a document was issued, when the next one is due, and its number. */
export interface DocumentFacts {
  readonly issueDate: Date
  readonly nextUpdate: Date
  readonly tcbEvaluationDataNumber: number
}

/** Reads what every signed document says of itself. @throws CollateralError FORMAT */
export function documentFacts(document: JsonObject): DocumentFacts {
  return {
    issueDate: asInstant('issueDate', document['issueDate']),
    nextUpdate: asInstant('nextUpdate', document['nextUpdate']),
    tcbEvaluationDataNumber: asInteger(
      'tcbEvaluationDataNumber',
      document['tcbEvaluationDataNumber'],
      0xffffffff,
    ),
  }
}

/** A signer and attributes under a mask: how a TDX module is told. */
export interface TdxModule {
  /** 48 bytes; zero for Intel's. */
  readonly mrSigner: Uint8Array
  /** 8 bytes. */
  readonly attributes: Uint8Array
  readonly attributesMask: Uint8Array
}

/** Reads how a TDX module is told. @throws CollateralError FORMAT */
export function tdxModuleOf(module: JsonObject): TdxModule {
  return {
    mrSigner: asHex('mrsigner', module['mrsigner'], 48),
    attributes: asHex('attributes', module['attributes'], 8),
    attributesMask: asHex('attributesMask', module['attributesMask'], 8),
  }
}
