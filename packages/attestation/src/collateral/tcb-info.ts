import { CollateralError } from './errors.ts'
import { asArray, asHex, asInteger, asObject, asString, type JsonObject } from './signed-json.ts'
import {
  type DocumentFacts,
  documentFacts,
  highestFirst,
  levelFacts,
  type SvnLevel,
  svnLevels,
  type TcbLevelFacts,
  type TdxModule,
  tdxModuleOf,
} from './tcb-level.ts'
import { PUBLISHED_TCB_STATUSES } from './tcb-status.ts'

/** Most module identities that a TCB info may list: one for each major version. */
const MAX_MODULES = 256

/** One level of an SGX TCB info. */
export interface SgxTcbLevel extends TcbLevelFacts {
  /** The 16 component SVNs. A platform's are at most 255; a level above that is out of reach. */
  readonly components: readonly number[]
  readonly pceSvn: number
}

/** One level of a TDX TCB info. */
export interface TdxTcbLevel extends SgxTcbLevel {
  /** The 16 SVNs that TEE_TCB_SVN is matched with. */
  readonly tdxComponents: readonly number[]
}

/** One major version of the TDX module. */
export interface TdxModuleIdentity extends TdxModule {
  /** `TDX_` and the major version in two hexadecimal digits. */
  readonly id: string
  /** Highest SVN first. */
  readonly levels: readonly SvnLevel[]
}

interface TcbInfoFacts extends DocumentFacts {
  /** 6 bytes. */
  readonly fmspc: Uint8Array
  /** 2 bytes. */
  readonly pceId: Uint8Array
}

/** SGX TCB info of version 2 or 3, parsed after its signature verified. */
export interface SgxTcbInfo extends TcbInfoFacts {
  readonly id: 'SGX'
  readonly version: 2 | 3
  /** Highest level first. */
  readonly levels: readonly SgxTcbLevel[]
}

/** TDX TCB info of version 3, parsed after its signature verified. */
export interface TdxTcbInfo extends TcbInfoFacts {
  readonly id: 'TDX'
  readonly version: 3
  /** Highest level first. */
  readonly levels: readonly TdxTcbLevel[]
  /** The module of major version 0. */
  readonly tdxModule: TdxModule
  /** The modules of other major versions. */
  readonly tdxModuleIdentities: readonly TdxModuleIdentity[]
}

/** TCB info of either kind. */
export type TcbInfo = SgxTcbInfo | TdxTcbInfo

/**
 * Reads a TCB info.
 * @throws CollateralError FORMAT, VERSION, LIMIT
 * @see Intel PCS API v4, TCB info v3; API v3, TCB info v2
 */
export function parseTcbInfo(info: JsonObject): TcbInfo {
  const { version, id } = kindOf(info)
  const { tcbLevels, tdxModule, tdxModuleIdentities } = info
  const facts = {
    ...documentFacts(info),
    fmspc: asHex('fmspc', info['fmspc'], 6),
    pceId: asHex('pceId', info['pceId'], 2),
  }
  if (id === 'SGX') {
    if (tdxModule !== undefined || tdxModuleIdentities !== undefined) {
      throw new CollateralError('FORMAT', 'TCB info of SGX: wanted no TDX module')
    }
    const levels = highestFirst(tcbLevels, level => sgxLevel(version, level), byHighestFirst)
    return { id, version, ...facts, levels }
  }
  return {
    id,
    version: 3,
    ...facts,
    levels: highestFirst(tcbLevels, tdxLevel, byHighestFirst),
    tdxModule: tdxModuleOf(asObject('tdxModule', tdxModule)),
    tdxModuleIdentities: moduleIdentities(tdxModuleIdentities),
  }
}

/** Levels of another TCB type than 0 would compare in another way. */
function kindOf({ version, id, tcbType }: JsonObject): { version: 2 | 3; id: TcbInfo['id'] } {
  if (tcbType !== 0) {
    throw new CollateralError('VERSION', `TCB info: wanted TCB type 0, saw ${String(tcbType)}`)
  }
  if (version === 3 && (id === 'SGX' || id === 'TDX')) return { version, id }
  // Version 2 has no id; an identity of version 2 has one, and must not pass for a TCB info.
  if (version === 2 && id === undefined) return { version, id: 'SGX' }
  throw new CollateralError(
    'VERSION',
    `TCB info: wanted version 3 with id SGX or TDX, or version 2 with none, saw ${String(version)} with ${String(id)}`,
  )
}

function sgxLevel(version: 2 | 3, level: JsonObject): SgxTcbLevel {
  const tcb = asObject('tcb', level['tcb'])
  return {
    components: version === 3 ? componentsOf('sgxtcbcomponents', tcb) : componentsOfV2(tcb),
    pceSvn: asInteger('pcesvn', tcb['pcesvn'], 0xffff),
    ...levelFacts(level, PUBLISHED_TCB_STATUSES),
  }
}

function tdxLevel(level: JsonObject): TdxTcbLevel {
  const tdxComponents = componentsOf('tdxtcbcomponents', asObject('tcb', level['tcb']))
  return { ...sgxLevel(3, level), tdxComponents }
}

function componentsOf(name: string, tcb: JsonObject): readonly number[] {
  const components = asArray(name, tcb[name])
  if (components.length !== 16) {
    throw new CollateralError('FORMAT', `${name}: wanted 16, saw ${components.length}`)
  }
  return components.map(part => asInteger('svn', asObject(name, part)['svn'], 0xffff))
}

function componentsOfV2(tcb: JsonObject): readonly number[] {
  return Array.from({ length: 16 }, (_, index) => {
    const name = `sgxtcbcomp${String(index + 1).padStart(2, '0')}svn`
    return asInteger(name, tcb[name], 0xffff)
  })
}

/** Absent from the first TCB infos of TDX, which know the base module alone. */
function moduleIdentities(value: unknown): readonly TdxModuleIdentity[] {
  if (value === undefined) return []
  const given = asArray('tdxModuleIdentities', value)
  if (given.length === 0) throw new CollateralError('FORMAT', 'tdxModuleIdentities: wanted some')
  if (given.length > MAX_MODULES) {
    throw new CollateralError(
      'LIMIT',
      `tdxModuleIdentities: ${given.length}, wanted at most ${MAX_MODULES}`,
    )
  }
  const seen = new Set<string>()
  return given.map(item => {
    const identity = asObject('tdxModuleIdentities', item)
    const id = asString('id', identity['id']).toUpperCase()
    if (!/^TDX_[0-9A-F]{2}$/.test(id) || seen.has(id)) {
      throw new CollateralError('FORMAT', `TDX module identity "${id}" is none or there twice`)
    }
    seen.add(id)
    return { id, ...tdxModuleOf(identity), levels: svnLevels(identity['tcbLevels']) }
  })
}

/** By SGX components, then PCESVN, then TDX components. */
function byHighestFirst(a: SgxTcbLevel | TdxTcbLevel, b: SgxTcbLevel | TdxTcbLevel): number {
  const [one, other] = [svnsOf(a), svnsOf(b)]
  for (const [index, svn] of one.entries()) {
    const difference = (other[index] ?? 0) - svn
    if (difference !== 0) return difference
  }
  return 0
}

function svnsOf(level: SgxTcbLevel | TdxTcbLevel): readonly number[] {
  const { components, pceSvn } = level
  return [...components, pceSvn, ...('tdxComponents' in level ? level.tdxComponents : [])]
}
