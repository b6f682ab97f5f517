import { CollateralError } from './errors.ts'
import { asHex, asInteger, type JsonObject } from './signed-json.ts'
import { type DocumentFacts, documentFacts, type SvnLevel, svnLevels } from './tcb-level.ts'

/** Enclaves that identities are published for: quoting (SGX, TDX), verification, appraisal. */
const IDS = ['QE', 'TD_QE', 'QVE', 'QAE'] as const

/** Identity of one of the vendor's enclaves, parsed after its signature verified. */
export interface QeIdentity extends DocumentFacts {
  readonly id: (typeof IDS)[number]
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
  readonly levels: readonly SvnLevel[]
}

/**
 * Reads the identity of one of the vendor's enclaves.
 * @throws CollateralError FORMAT, VERSION, LIMIT
 * @see Intel PCS API v4, enclave identity v2
 */
export function parseQeIdentity(identity: JsonObject): QeIdentity {
  const id = IDS.find(known => known === identity['id'])
  if (identity['version'] !== 2 || id === undefined) {
    throw new CollateralError(
      'VERSION',
      `enclave identity: wanted version 2 with id ${IDS.join(' or ')}, saw ${String(identity['version'])} with ${String(identity['id'])}`,
    )
  }
  return {
    id,
    ...documentFacts(identity),
    miscSelect: asHex('miscselect', identity['miscselect'], 4),
    miscSelectMask: asHex('miscselectMask', identity['miscselectMask'], 4),
    attributes: asHex('attributes', identity['attributes'], 16),
    attributesMask: asHex('attributesMask', identity['attributesMask'], 16),
    mrSigner: asHex('mrsigner', identity['mrsigner'], 32),
    isvProdId: asInteger('isvprodid', identity['isvprodid'], 0xffff),
    levels: svnLevels(identity['tcbLevels']),
  }
}
