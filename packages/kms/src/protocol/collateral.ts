import { type Collateral, REVOCATION_UNCHECKED, type SnpCollateral } from '@cloister/attestation'
import { fromBase64Url, toBase64Url } from './encoding.ts'
import { KmsError } from './errors.ts'
import {
  type CollateralJson,
  collateralSchema,
  type SnpCollateralJson,
  snpCollateralSchema,
} from './messages.ts'
import { parseAs } from './schema.ts'

/** Endorsements as JSON. */
export function collateralToJson(collateral: Collateral): CollateralJson
export function collateralToJson(
  collateral: Collateral | SnpCollateral,
): CollateralJson | SnpCollateralJson
export function collateralToJson(
  collateral: Collateral | SnpCollateral,
): CollateralJson | SnpCollateralJson {
  if ('vek' in collateral) return snpToJson(collateral)
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
 * Endorsements of a quote from JSON. Nothing in them is verified.
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

/**
 * Endorsements of a SEV-SNP report from JSON. Nothing in them is verified.
 * @throws KmsError MALFORMED
 */
export function parseSnpCollateral(value: unknown): SnpCollateral {
  const { chain, crl, vek } = parseAs('collateral', snpCollateralSchema, value)
  return { vek: fromBase64Url('vek', vek), chain, crl: fromBase64Url('crl', crl) }
}

function snpToJson({ chain, crl, vek }: SnpCollateral): SnpCollateralJson {
  if (crl === REVOCATION_UNCHECKED) {
    throw new KmsError('MALFORMED', 'endorsements without a revocation list are not passed on')
  }
  const text = typeof chain === 'string' ? chain : Buffer.from(chain).toString('utf8')
  return { vek: toBase64Url(vek), chain: text, crl: toBase64Url(crl) }
}
