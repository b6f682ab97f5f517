import { readCollateralJson } from '../collateral/collateral-json.ts'
import type { JsonObject } from '../collateral/signed-json.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { parseCrl } from '../x509/crl.ts'
import { splitPemCertificates } from '../x509/pem.ts'
import { describeCertificate, describeCrl } from './certificate.ts'
import {
  describeEvaluationNumbers,
  describeIdentity,
  describeTcbInfo,
  innerDocument,
} from './collateral.ts'
import type { Facts } from './facts.ts'

/** Each kind of signed document, how it is described, and the members that only it has. */
const DOCUMENTS = [
  ['tcbInfo', 'TCB info', describeTcbInfo, ['fmspc', 'tcbLevels']],
  ['enclaveIdentity', 'identity', describeIdentity, ['mrsigner', 'tcbLevels']],
  [
    'tcbEvaluationDataNumbers',
    'TCB evaluation data numbers',
    describeEvaluationNumbers,
    ['tcbEvalNumbers'],
  ],
] as const

/**
 * What a JSON value says: a signed document as the vendor's service sends it, or the signed object
 * alone; collateral.
 * @returns `undefined` when it is none of these.
 * @throws CollateralError, DerError when it is one of these, and malformed.
 */
export function describeJson(
  value: unknown,
): { readonly kind: string; readonly facts: Facts } | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  for (const [member, kind, describe, members] of DOCUMENTS) {
    const inner = innerDocument(value, member)
    if (inner !== undefined) return { kind, facts: describe(inner) }
    if (members.every(name => name in value)) return { kind, facts: describe(value as JsonObject) }
  }
  return 'tcb_info' in value && 'tcb_info_signature' in value
    ? { kind: 'collateral', facts: describeCollateral(value) }
    : undefined
}

function describeCollateral(value: object): Facts {
  const collateral = readCollateralJson(value)
  const chain = (pem: string) =>
    splitPemCertificates(pem).map(parseCertificate).map(describeCertificate)
  return {
    'TCB info': describeTcbInfo(JSON.parse(collateral.tcbInfo)),
    'QE identity': describeIdentity(JSON.parse(collateral.qeIdentity)),
    'root CA’s revocation list': describeCrl(parseCrl(collateral.rootCaCrl)),
    'PCK CA’s revocation list': describeCrl(parseCrl(collateral.pckCrl)),
    'PCK CA chain': chain(collateral.pckCrlIssuerChain),
    'TCB signing chain': chain(collateral.tcbInfoIssuerChain),
  }
}
