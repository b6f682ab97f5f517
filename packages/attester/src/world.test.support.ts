import 'reflect-metadata'
import { createPublicKey, KeyObject, webcrypto } from 'node:crypto'
import {
  type AppraisalPolicy,
  createSimPlatform,
  readAppraisalPolicy,
  type SimConditions,
  type SimPlatform,
} from '@cloister/attestation'
import { Extension, X509CertificateGenerator } from '@peculiar/x509'
import type { PeerRequirements } from './appraise-peer.ts'
import { simQuoteSource } from './quote-source/sim.ts'

/** The instant of all tests that pin one. */
export const AT = new Date('2026-11-01T00:00:00Z')

/** The enclave of the tests. */
export const ENCLAVE = {
  mrEnclave: new Uint8Array(32).fill(0x11),
  mrSigner: new Uint8Array(32).fill(0x22),
  isvProdId: 1,
  isvSvn: 2,
  debug: false,
} as const

/** Demands the enclave of the tests, on a simulated platform in order. */
export const POLICY: AppraisalPolicy = readAppraisalPolicy({
  version: 1,
  tees: ['sim'],
  enclaves: [{ mrEnclave: '11'.repeat(32) }],
  platform: { tcbStatuses: ['UpToDate'] },
})

/** A platform, an enclave on it, and what a relying party demands of both. */
export function simWorld(conditions: Partial<SimConditions> = {}) {
  const platform = createSimPlatform({ createdAt: AT, ...conditions })
  return {
    platform,
    source: simQuoteSource(platform, ENCLAVE),
    requirements: requirementsOf(platform),
  }
}

/** What a relying party demands that pins one simulated platform. */
export function requirementsOf(platform: SimPlatform): PeerRequirements {
  const collateral = platform.collateral(AT)
  return {
    roots: [platform.trustRoot],
    policy: POLICY,
    collateralFor: () => Promise.resolve(collateral),
    now: () => AT,
  }
}

/**
 * Issues a certificate with any extensions, as the writers of legacy forms do.
 * @param contents - Makes the extensions from the SubjectPublicKeyInfo.
 */
export async function issueWith(
  contents: (spki: Uint8Array) => readonly { readonly oid: string; readonly value: Uint8Array }[],
) {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ])
  const spki = new Uint8Array(await webcrypto.subtle.exportKey('spki', keys.publicKey))
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ CN: ['legacy'] }],
    notBefore: AT,
    notAfter: new Date(AT.getTime() + 86_400_000),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    keys,
    extensions: contents(spki).map(
      ({ oid, value }) => new Extension(oid, false, Uint8Array.from(value)),
    ),
  })
  return {
    der: new Uint8Array(certificate.rawData),
    publicKey: createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }),
    key: KeyObject.from(keys.privateKey).export({ format: 'pem', type: 'pkcs8' }),
  }
}
