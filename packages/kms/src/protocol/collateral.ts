import type { Collateral } from '@cloister/attestation'
import { fromBase64Url, toBase64Url } from './encoding.ts'
import { type CollateralJson, collateralSchema } from './messages.ts'
import { parseAs } from './schema.ts'

/** Endorsements as JSON. */
export function collateralToJson(collateral: Collateral): CollateralJson {
  return {
    pckCrlIssuerChain: collateral.pckCrlIssuerChain,
    rootCaCrl: toBase64Url(collateral.rootCaCrl),
    pckCrl: toBase64Url(collateral.pckCrl),
    tcbInfoIssuerChain: collateral.tcbInfoIssuerChain,
    tcbInfo: collateral.tcbInfo,
    tcbInfoSignature: toBase64Url(collateral.tcbInfoSignature),
    qeIdentityIssuerChain: collateral.qeIdentityIssuerChain,
    qeIdentity: collateral.qeIdentity,
    qeIdentitySignature: toBase64Url(collateral.qeIdentitySignature),
  }
}

/**
 * Endorsements from JSON. Nothing in them is verified.
 * @throws KmsError MALFORMED
 */
export function parseCollateral(value: unknown): Collateral {
  const json = parseAs('collateral', collateralSchema, value)
  return {
    pckCrlIssuerChain: json.pckCrlIssuerChain,
    rootCaCrl: fromBase64Url('rootCaCrl', json.rootCaCrl),
    pckCrl: fromBase64Url('pckCrl', json.pckCrl),
    tcbInfoIssuerChain: json.tcbInfoIssuerChain,
    tcbInfo: json.tcbInfo,
    tcbInfoSignature: fromBase64Url('tcbInfoSignature', json.tcbInfoSignature),
    qeIdentityIssuerChain: json.qeIdentityIssuerChain,
    qeIdentity: json.qeIdentity,
    qeIdentitySignature: fromBase64Url('qeIdentitySignature', json.qeIdentitySignature),
  }
}
