import { hexOf } from '../bytes/text.ts'
import { CollateralError } from '../collateral/errors.ts'
import type { TcbInfo } from '../collateral/tcb-info.ts'
import type { Quote } from '../quote/quote.ts'
import { sameBytes } from '../x509/der.ts'
import type { PckExtension } from '../x509/pck.ts'
import type { Documents } from './documents.ts'

/** Ids of the documents that belong to a quote of each TEE type. */
const IDS = {
  sgx: { tcbInfo: 'SGX', qeIdentity: 'QE' },
  tdx: { tcbInfo: 'TDX', qeIdentity: 'TD_QE' },
} as const

/** Step 4: the documents are for what was quoted. */
export function requireDocumentsFit({ header }: Quote, { tcbInfo, qeIdentity }: Documents): void {
  const wanted = IDS[header.teeType]
  requireId('TCB info', wanted.tcbInfo, tcbInfo.id)
  requireId('QE identity', wanted.qeIdentity, qeIdentity.id)
}

function requireId(what: string, wanted: string, seen: string): void {
  if (seen !== wanted) {
    throw new CollateralError('VERSION', `${what}: wanted id ${wanted}, saw ${seen}`)
  }
}

/** Step 5: the TCB info is of the PCK certificate's platform. */
export function requireSamePlatform(pck: PckExtension, info: TcbInfo): void {
  if (!sameBytes(pck.fmspc, info.fmspc)) {
    throw new CollateralError(
      'FMSPC',
      `TCB info is of ${hexOf(info.fmspc)}, the platform of ${hexOf(pck.fmspc)}`,
    )
  }
  if (!sameBytes(pck.pceid, info.pceId)) {
    throw new CollateralError(
      'PCEID',
      `TCB info is of PCE ${hexOf(info.pceId)}, the platform of ${hexOf(pck.pceid)}`,
    )
  }
}
