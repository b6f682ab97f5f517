import { CollateralError } from './errors.ts'
import { asArray, asHex, asInstant, asInteger, asObject, type JsonObject } from './signed-json.ts'
import {
  asAdvisoryIds,
  asTcbStatus,
  PART_TCB_STATUSES,
  type PartTcbStatus,
  type PublishedTcbStatus,
} from './tcb-status.ts'

/** Most levels that a document may list, of a platform or of a part of it. */
const MAX_LEVELS = 256

/** What every published level says. */
export interface TcbLevelFacts<Status extends PublishedTcbStatus = PublishedTcbStatus> {
  readonly tcbDate: Date
  readonly status: Status
  readonly advisoryIds: readonly string[]
}

/** A level of an enclave or of a TDX module, told by its security version alone. */
export interface SvnLevel extends TcbLevelFacts<PartTcbStatus> {
  readonly isvSvn: number
}

/** Reads what every level says. @throws CollateralError FORMAT */
export function levelFacts<Status extends PublishedTcbStatus>(
  level: JsonObject,
  statuses: readonly Status[],
): TcbLevelFacts<Status> {
  return {
    tcbDate: asInstant('tcbDate', level['tcbDate']),
    status: asTcbStatus('tcbStatus', level['tcbStatus'], statuses),
    advisoryIds: asAdvisoryIds('advisoryIDs', level['advisoryIDs']),
  }
}

/**
 * Reads a list of levels and puts the highest first. Of two that ask for the same, one would be
 * hidden behind the other.
 * @param below - As of `sort`: negative when the first is the higher.
 * @throws CollateralError FORMAT when there is none or one is there twice, LIMIT
 */
export function highestFirst<Level>(
  value: unknown,
  read: (level: JsonObject) => Level,
  below: (a: Level, b: Level) => number,
): readonly Level[] {
  const given = asArray('tcbLevels', value)
  if (given.length > MAX_LEVELS) {
    throw new CollateralError('LIMIT', `tcbLevels: ${given.length}, wanted at most ${MAX_LEVELS}`)
  }
  const levels = given.map(level => read(asObject('tcbLevels', level))).sort(below)
  const isTwice = (level: Level, at: number) => {
    const next = levels[at + 1]
    return next !== undefined && below(level, next) === 0
  }
  if (levels.length === 0 || levels.some(isTwice)) {
    throw new CollateralError('FORMAT', 'tcbLevels: wanted some, and none of them twice')
  }
  return levels
}

/** Reads levels told by ISVSVN, the highest first. @throws CollateralError FORMAT, LIMIT */
export function svnLevels(value: unknown): readonly SvnLevel[] {
  const read = (level: JsonObject) => ({
    isvSvn: asInteger('isvsvn', asObject('tcb', level['tcb'])['isvsvn'], 0xffff),
    ...levelFacts(level, PART_TCB_STATUSES),
  })
  return highestFirst(value, read, (a, b) => b.isvSvn - a.isvSvn)
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
