import { CollateralError } from './errors.ts'
import { asArray, asHex, asInstant, asInteger, asObject, type JsonObject } from './signed-json.ts'
import { asAdvisoryIds, asTcbStatus, type TcbStatus } from './tcb-status.ts'

/** One level of a quoting enclave's identity. */
export interface QeTcbLevel {
  readonly isvSvn: number
  readonly tcbDate: Date
  readonly status: TcbStatus
  readonly advisoryIds: readonly string[]
}

/** Identity of the SGX quoting enclave, parsed after its signature verified. */
export interface QeIdentity {
  readonly issueDate: Date
  readonly nextUpdate: Date
  readonly tcbEvaluationDataNumber: number
  /** 4 bytes, as the hex of the document reads. */
  readonly miscSelect: Uint8Array
  readonly miscSelectMask: Uint8Array
  /** 16 bytes. */
  readonly attributes: Uint8Array
  readonly attributesMask: Uint8Array
  /** 32 bytes. */
  readonly mrSigner: Uint8Array
  readonly isvProdId: number
  /** Highest SVN first. */
  readonly levels: readonly QeTcbLevel[]
}

/**
 * Reads the identity of the SGX quoting enclave.
 * @throws CollateralError FORMAT, VERSION
 * @see Intel PCS API v4, enclave identity v2
 */
export function parseQeIdentity(identity: JsonObject): QeIdentity {
  if (identity['version'] !== 2 || identity['id'] !== 'QE') {
    throw new CollateralError(
      'VERSION',
      `QE identity: wanted version 2 with id QE, saw ${String(identity['version'])} with ${String(identity['id'])}`,
    )
  }
  return {
    issueDate: asInstant('issueDate', identity['issueDate']),
    nextUpdate: asInstant('nextUpdate', identity['nextUpdate']),
    tcbEvaluationDataNumber: asInteger(
      'tcbEvaluationDataNumber',
      identity['tcbEvaluationDataNumber'],
      0xffffffff,
    ),
    miscSelect: asHex('miscselect', identity['miscselect'], 4),
    miscSelectMask: asHex('miscselectMask', identity['miscselectMask'], 4),
    attributes: asHex('attributes', identity['attributes'], 16),
    attributesMask: asHex('attributesMask', identity['attributesMask'], 16),
    mrSigner: asHex('mrsigner', identity['mrsigner'], 32),
    isvProdId: asInteger('isvprodid', identity['isvprodid'], 0xffff),
    levels: asArray('tcbLevels', identity['tcbLevels'])
      .map(level => parseLevel(asObject('tcbLevels', level)))
      .sort((a, b) => b.isvSvn - a.isvSvn),
  }
}

function parseLevel(level: JsonObject): QeTcbLevel {
  return {
    isvSvn: asInteger('isvsvn', asObject('tcb', level['tcb'])['isvsvn'], 0xffff),
    tcbDate: asInstant('tcbDate', level['tcbDate']),
    status: asTcbStatus('tcbStatus', level['tcbStatus']),
    advisoryIds: asAdvisoryIds('advisoryIDs', level['advisoryIDs']),
  }
}

/** The highest level that `isvSvn` reaches, or `undefined` when none. */
export function matchQeTcbLevel(identity: QeIdentity, isvSvn: number): QeTcbLevel | undefined {
  return identity.levels.find(level => isvSvn >= level.isvSvn)
}
