import { CollateralError } from './errors.ts'
import { asArray, asHex, asInstant, asInteger, asObject, type JsonObject } from './signed-json.ts'
import { asAdvisoryIds, asTcbStatus, type TcbStatus } from './tcb-status.ts'

/** Most levels that a TCB info or an identity may list. */
const MAX_LEVELS = 256

/** One level of an SGX TCB info. */
export interface SgxTcbLevel {
  /** The 16 component SVNs, each 0 to 255. */
  readonly components: readonly number[]
  readonly pceSvn: number
  readonly tcbDate: Date
  readonly status: TcbStatus
  readonly advisoryIds: readonly string[]
}

/** SGX TCB info of version 2 or 3, parsed after its signature verified. */
export interface SgxTcbInfo {
  readonly version: 2 | 3
  readonly issueDate: Date
  readonly nextUpdate: Date
  /** 6 bytes. */
  readonly fmspc: Uint8Array
  /** 2 bytes. */
  readonly pceId: Uint8Array
  readonly tcbEvaluationDataNumber: number
  /** Highest level first. */
  readonly levels: readonly SgxTcbLevel[]
}

/**
 * Reads an SGX TCB info.
 * @throws CollateralError FORMAT, VERSION, LIMIT
 * @see Intel PCS API v4, TCB info v3; API v3, TCB info v2
 */
export function parseSgxTcbInfo(info: JsonObject): SgxTcbInfo {
  const version = info['version']
  if (version !== 2 && version !== 3) {
    throw new CollateralError('VERSION', `TCB info: wanted version 2 or 3, saw ${String(version)}`)
  }
  // Version 2 has no id; an identity of version 2 has one, and must not pass for a TCB info.
  const id = version === 3 ? 'SGX' : undefined
  if (info['id'] !== id) {
    throw new CollateralError(
      'VERSION',
      `TCB info of version ${version}: wanted id ${id ?? 'absent'}, saw ${String(info['id'])}`,
    )
  }
  const levels = asArray('tcbLevels', info['tcbLevels'])
  if (levels.length > MAX_LEVELS) {
    throw new CollateralError('LIMIT', `TCB info: ${levels.length} levels, at most ${MAX_LEVELS}`)
  }
  return {
    version,
    issueDate: asInstant('issueDate', info['issueDate']),
    nextUpdate: asInstant('nextUpdate', info['nextUpdate']),
    fmspc: asHex('fmspc', info['fmspc'], 6),
    pceId: asHex('pceId', info['pceId'], 2),
    tcbEvaluationDataNumber: asInteger(
      'tcbEvaluationDataNumber',
      info['tcbEvaluationDataNumber'],
      0xffffffff,
    ),
    levels: levels
      .map(level => parseLevel(version, asObject('tcbLevels', level)))
      .sort(byHighestFirst),
  }
}

function parseLevel(version: 2 | 3, level: JsonObject): SgxTcbLevel {
  const tcb = asObject('tcb', level['tcb'])
  return {
    components: version === 3 ? componentsOfV3(tcb) : componentsOfV2(tcb),
    pceSvn: asInteger('pcesvn', tcb['pcesvn'], 0xffff),
    tcbDate: asInstant('tcbDate', level['tcbDate']),
    status: asTcbStatus('tcbStatus', level['tcbStatus']),
    advisoryIds: asAdvisoryIds('advisoryIDs', level['advisoryIDs']),
  }
}

function componentsOfV3(tcb: JsonObject): readonly number[] {
  const components = asArray('sgxtcbcomponents', tcb['sgxtcbcomponents'])
  if (components.length !== 16) {
    throw new CollateralError('FORMAT', `sgxtcbcomponents: wanted 16, saw ${components.length}`)
  }
  return components.map(part => asInteger('svn', asObject('sgxtcbcomponents', part)['svn'], 0xff))
}

function componentsOfV2(tcb: JsonObject): readonly number[] {
  return Array.from({ length: 16 }, (_, index) => {
    const name = `sgxtcbcomp${String(index + 1).padStart(2, '0')}svn`
    return asInteger(name, tcb[name], 0xff)
  })
}

function byHighestFirst(a: SgxTcbLevel, b: SgxTcbLevel): number {
  for (const [index, svn] of a.components.entries()) {
    const difference = (b.components[index] ?? 0) - svn
    if (difference !== 0) return difference
  }
  return b.pceSvn - a.pceSvn
}

/** What of the PCK certificate decides the level. */
export interface PckTcb {
  /** The 16 component SVNs of the certificate. */
  readonly components: readonly number[]
  readonly pceSvn: number
}

/**
 * The highest level that the platform reaches in every component, or `undefined` when none.
 * @see attestation algorithm, step 11
 */
export function matchSgxTcbLevel(info: SgxTcbInfo, pck: PckTcb): SgxTcbLevel | undefined {
  return info.levels.find(
    level =>
      pck.pceSvn >= level.pceSvn &&
      level.components.every((svn, index) => (pck.components[index] ?? -1) >= svn),
  )
}
