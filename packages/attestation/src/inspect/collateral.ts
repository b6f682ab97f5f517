import { parseEvaluationNumbers } from '../collateral/evaluation-numbers.ts'
import { parseQeIdentity, type QeIdentity } from '../collateral/qe-identity.ts'
import { asObject, type JsonObject } from '../collateral/signed-json.ts'
import { parseTcbInfo, type SgxTcbLevel, type TcbInfo } from '../collateral/tcb-info.ts'
import type { DocumentFacts, TcbLevelFacts } from '../collateral/tcb-level.ts'
import { dateFact, type Facts, factsOf, hexFact } from './facts.ts'

/** What TCB info says. */
export function describeTcbInfo(document: JsonObject): Facts {
  const info = parseTcbInfo(document)
  return factsOf({
    id: info.id,
    version: info.version,
    FMSPC: hexFact(info.fmspc),
    PCEID: hexFact(info.pceId),
    ...documentFacts(info),
    levels: info.levels.map(describeLevel),
    'TDX modules': info.id === 'TDX' ? describeModules(info) : undefined,
  })
}

/** What the identity of one of the vendor's enclaves says. */
export function describeIdentity(document: JsonObject): Facts {
  const identity: QeIdentity = parseQeIdentity(document)
  return {
    id: identity.id,
    ...documentFacts(identity),
    MRSIGNER: hexFact(identity.mrSigner),
    ISVPRODID: identity.isvProdId,
    MISCSELECT: `${hexFact(identity.miscSelect)} under ${hexFact(identity.miscSelectMask)}`,
    ATTRIBUTES: `${hexFact(identity.attributes)} under ${hexFact(identity.attributesMask)}`,
    levels: identity.levels.map(level => ({ ISVSVN: level.isvSvn, ...levelFacts(level) })),
  }
}

/** What the list of evaluation numbers says. */
export function describeEvaluationNumbers(document: JsonObject): Facts {
  const { id, issueDate, nextUpdate, numbers } = parseEvaluationNumbers(document)
  return {
    id,
    issued: dateFact(issueDate),
    'next update': dateFact(nextUpdate),
    numbers: numbers.map(({ tcbEvaluationDataNumber, tcbRecoveryEventDate, tcbDate }) => ({
      number: tcbEvaluationDataNumber,
      'TCB recovery': dateFact(tcbRecoveryEventDate),
      date: dateFact(tcbDate),
    })),
  }
}

/** The signed object inside a document as the vendor's service sends it, or the object itself. */
export function innerDocument(
  value: unknown,
  member: 'tcbInfo' | 'enclaveIdentity' | 'tcbEvaluationDataNumbers',
): JsonObject | undefined {
  if (typeof value !== 'object' || value === null || !(member in value)) return undefined
  return asObject(member, (value as JsonObject)[member])
}

function documentFacts(document: DocumentFacts): Facts {
  return {
    issued: dateFact(document.issueDate),
    'next update': dateFact(document.nextUpdate),
    'evaluation data number': document.tcbEvaluationDataNumber,
  }
}

function describeLevel(level: SgxTcbLevel): Facts {
  return factsOf({
    'SGX components': level.components.join(' '),
    PCESVN: level.pceSvn,
    'TDX components':
      'tdxComponents' in level ? (level.tdxComponents as readonly number[]).join(' ') : undefined,
    ...levelFacts(level),
  })
}

function levelFacts({ status, tcbDate, advisoryIds }: TcbLevelFacts): Facts {
  return { status, date: dateFact(tcbDate), advisories: advisoryIds.join(' ') }
}

function describeModules(info: Extract<TcbInfo, { id: 'TDX' }>): readonly Facts[] {
  return info.tdxModuleIdentities.map(identity => ({
    id: identity.id,
    MRSIGNER: hexFact(identity.mrSigner),
    ATTRIBUTES: `${hexFact(identity.attributes)} under ${hexFact(identity.attributesMask)}`,
    levels: identity.levels.map(level => ({ ISVSVN: level.isvSvn, ...levelFacts(level) })),
  }))
}
