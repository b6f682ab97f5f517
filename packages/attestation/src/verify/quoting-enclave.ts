import { primitives } from '#crypto'
import { hexOf } from '../bytes/text.ts'
import type { QeIdentity } from '../collateral/qe-identity.ts'
import { matchSvnLevel, type SvnLevel } from '../collateral/tcb-level.ts'
import type { VerifyingKey } from '../crypto/primitives.ts'
import type { Quote } from '../quote/quote.ts'
import type { SgxReportBody } from '../sgx/report-body.ts'
import { keyFromPoint } from '../signatures.ts'
import { sameBytes } from '../x509/der.ts'
import { EvidenceError } from './errors.ts'

/** Step 7: the PCK signed the report of the quoting enclave. */
export function verifyQeReport(quote: Quote, pckKey: VerifyingKey | undefined): void {
  if (pckKey?.verifies(quote.qeReportBytes, quote.qeReportSignature) !== true) {
    throw new EvidenceError('QE_REPORT_SIGNATURE', 'the PCK key did not sign the QE report')
  }
}

/** Step 8: that report binds the attestation key. */
export function requireBoundKey({ attestationKey, qeAuthData, qeReport }: Quote): void {
  const bound = primitives.digest('SHA-256', attestationKey, qeAuthData)
  if (!sameBytes(bound, qeReport.reportData.subarray(0, 32))) {
    throw new EvidenceError('QE_REPORT_DATA', 'the QE report binds another attestation key')
  }
}

/** Step 9: it is of the enclave the identity describes. Gives the level its version reaches. */
export function matchQeIdentity(quote: Quote, identity: QeIdentity): SvnLevel {
  const { qeReport, qeReportBytes } = quote
  requireIdentity(qeReport, qeReportBytes, identity)
  const level = matchSvnLevel(identity.levels, qeReport.isvSvn)
  if (level === undefined) {
    throw new EvidenceError(
      'TCB_NOT_SUPPORTED',
      `the quoting enclave of ISVSVN ${qeReport.isvSvn} reaches no published level`,
    )
  }
  return level
}

function requireIdentity(report: SgxReportBody, bytes: Uint8Array, identity: QeIdentity): void {
  // MISCSELECT stands at 16 and ATTRIBUTES at 48 of the report body, as bytes.
  const seen: [name: string, seen: Uint8Array, wanted: Uint8Array][] = [
    ['MISCSELECT', masked(bytes.subarray(16, 20), identity.miscSelectMask), identity.miscSelect],
    ['ATTRIBUTES', masked(bytes.subarray(48, 64), identity.attributesMask), identity.attributes],
    ['MRSIGNER', report.mrSigner, identity.mrSigner],
  ]
  for (const [name, is, wanted] of seen) {
    if (!sameBytes(is, wanted)) {
      throw new EvidenceError(
        'QE_IDENTITY',
        `QE ${name}: wanted ${hexOf(wanted)}, saw ${hexOf(is)}`,
      )
    }
  }
  if (report.isvProdId !== identity.isvProdId) {
    throw new EvidenceError(
      'QE_IDENTITY',
      `QE ISVPRODID: wanted ${identity.isvProdId}, saw ${report.isvProdId}`,
    )
  }
}

/** Step 10: the attestation key signed the quote. */
export function verifyQuoteSignature(quote: Quote): void {
  const key = keyFromPoint(quote.attestationKey)
  if (key === undefined) {
    throw new EvidenceError('KEY', 'the attestation key is no point of P-256')
  }
  if (!key.verifies(quote.signedBytes, quote.signature)) {
    throw new EvidenceError('QUOTE_SIGNATURE', 'the attestation key did not sign the quote')
  }
}

/** `bytes` under `mask`. */
function masked(bytes: Uint8Array, mask: Uint8Array): Uint8Array {
  return bytes.map((byte, index) => byte & (mask[index] ?? 0xff))
}
