import type { Collateral } from './collateral.ts'
import { CollateralError } from './errors.ts'
import { asObject, asString, type JsonObject } from './signed-json.ts'

const MAX_LENGTH = 4 << 20

/**
 * Reads collateral from the JSON that quote verifiers exchange: chains as PEM, signed documents as
 * text exactly as signed, lists and signatures as hexadecimal of either case. Nothing is verified.
 * @param value - What `JSON.parse` gave; members that are not known are passed over.
 * @throws CollateralError FORMAT, LIMIT
 * @see docs/formats/collateral.md
 */
export function readCollateralJson(value: unknown): Collateral {
  const json = asObject('collateral', value)
  const text = (name: string) => textOf(json, name)
  const bytes = (name: string) => bytesOf(json, name)
  return {
    pckCrlIssuerChain: text('pck_crl_issuer_chain'),
    rootCaCrl: bytes('root_ca_crl'),
    pckCrl: bytes('pck_crl'),
    tcbInfoIssuerChain: text('tcb_info_issuer_chain'),
    tcbInfo: text('tcb_info'),
    tcbInfoSignature: bytes('tcb_info_signature'),
    qeIdentityIssuerChain: text('qe_identity_issuer_chain'),
    qeIdentity: text('qe_identity'),
    qeIdentitySignature: bytes('qe_identity_signature'),
    ...(json['pck_certificate_chain'] === undefined || json['pck_certificate_chain'] === null
      ? {}
      : { pckCertificateChain: text('pck_certificate_chain') }),
  }
}

/** Writes collateral; the inverse of {@link readCollateralJson}. */
export function collateralJson(collateral: Collateral): Readonly<Record<string, string>> {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const { pckCertificateChain } = collateral
  return {
    pck_crl_issuer_chain: collateral.pckCrlIssuerChain,
    root_ca_crl: hex(collateral.rootCaCrl),
    pck_crl: hex(collateral.pckCrl),
    tcb_info_issuer_chain: collateral.tcbInfoIssuerChain,
    tcb_info: collateral.tcbInfo,
    tcb_info_signature: hex(collateral.tcbInfoSignature),
    qe_identity_issuer_chain: collateral.qeIdentityIssuerChain,
    qe_identity: collateral.qeIdentity,
    qe_identity_signature: hex(collateral.qeIdentitySignature),
    ...(pckCertificateChain === undefined ? {} : { pck_certificate_chain: pckCertificateChain }),
  }
}

function textOf(json: JsonObject, name: string): string {
  if (json[name] === undefined) throw new CollateralError('FORMAT', `collateral lacks ${name}`)
  const text = asString(name, json[name])
  if (text.length > MAX_LENGTH) throw new CollateralError('LIMIT', `${name}: over 4 Mi characters`)
  return text
}

function bytesOf(json: JsonObject, name: string): Uint8Array {
  const text = textOf(json, name)
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new CollateralError('FORMAT', `${name}: wanted hexadecimal digits`)
  }
  return new Uint8Array(Buffer.from(text, 'hex'))
}
