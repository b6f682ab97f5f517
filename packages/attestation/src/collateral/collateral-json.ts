import { bytesOfHex, hexOf } from '../bytes/text.ts'
import { isPemCrl, pemCrl } from '../x509/pem.ts'
import type { Collateral } from './collateral.ts'
import { CollateralError } from './errors.ts'
import { asObject, asString, type JsonObject } from './signed-json.ts'

const MAX_LENGTH = 4 << 20

/**
 * Reads collateral from the JSON that quote verifiers exchange: chains as PEM, signed documents as
 * text exactly as signed, lists and signatures as hexadecimal of either case, lists as PEM too. Nothing
 * is verified.
 * @param value - What `JSON.parse` gave; members that are not known are passed over.
 * @throws CollateralError FORMAT, LIMIT; DerError for a list in PEM that is not
 * @see docs/formats/collateral.md
 */
export function readCollateralJson(value: unknown): Collateral {
  const json = asObject('collateral', value)
  const text = (name: string) => textOf(json, name)
  const bytes = (name: string) => bytesOf(json, name)
  return {
    pckCrlIssuerChain: text('pck_crl_issuer_chain'),
    rootCaCrl: crlOf(json, 'root_ca_crl'),
    pckCrl: crlOf(json, 'pck_crl'),
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
  const { pckCertificateChain } = collateral
  return {
    pck_crl_issuer_chain: collateral.pckCrlIssuerChain,
    root_ca_crl: hexOf(collateral.rootCaCrl),
    pck_crl: hexOf(collateral.pckCrl),
    tcb_info_issuer_chain: collateral.tcbInfoIssuerChain,
    tcb_info: collateral.tcbInfo,
    tcb_info_signature: hexOf(collateral.tcbInfoSignature),
    qe_identity_issuer_chain: collateral.qeIdentityIssuerChain,
    qe_identity: collateral.qeIdentity,
    qe_identity_signature: hexOf(collateral.qeIdentitySignature),
    ...(pckCertificateChain === undefined ? {} : { pck_certificate_chain: pckCertificateChain }),
  }
}

function textOf(json: JsonObject, name: string): string {
  if (json[name] === undefined) throw new CollateralError('FORMAT', `collateral lacks ${name}`)
  const text = asString(name, json[name])
  if (text.length > MAX_LENGTH) throw new CollateralError('LIMIT', `${name}: over 4 Mi characters`)
  return text
}

function crlOf(json: JsonObject, name: string): Uint8Array {
  const text = textOf(json, name)
  return isPemCrl(text) ? pemCrl(text) : bytesOf(json, name)
}

function bytesOf(json: JsonObject, name: string): Uint8Array {
  const text = textOf(json, name)
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new CollateralError('FORMAT', `${name}: wanted hexadecimal digits`)
  }
  return bytesOfHex(text)
}
