import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { X509CertificateGenerator } from '@peculiar/x509'
import { describe, expect, it } from 'vitest'
import {
  identityFrom,
  issueIdentityCertificate,
  newIdentityKey,
} from '../server/identity/kms-identity.ts'
import { parseKmsPin } from './pin.ts'

const AT = new Date('2026-01-01T00:00:00Z')
const RSA = {
  ...{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048 },
  publicExponent: new Uint8Array([1, 0, 1]),
}

const identity = identityFrom(newIdentityKey())
const pin = {
  url: 'https://kms.example:8443',
  ...{ kmsId: identity.kmsId, identityKey: identity.identityKey },
  certificate: await issueIdentityCertificate(identity, AT),
}

async function certificateOf(
  algorithm: webcrypto.RsaHashedKeyGenParams | (webcrypto.EcKeyGenParams & { hash: string }),
): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const { name, hash } = algorithm
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...{ serialNumber: '01', name: 'CN=other', keys, signingAlgorithm: { name, hash } },
    ...{ notBefore: AT, notAfter: new Date('2036-01-01T00:00:00Z') },
  })
  return certificate.toString('pem')
}

describe('a pin', () => {
  it('bears the certificate of its own key', () => {
    expect(parseKmsPin(pin)).toEqual(pin)
  })

  it.each([
    ['of another key', () => issueIdentityCertificate(identityFrom(newIdentityKey()), AT)],
    ['of RSA', () => certificateOf(RSA)],
    ['of P-384', () => certificateOf({ name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' })],
    [
      'of Ed25519',
      () => certificateOf({ name: 'Ed25519', namedCurve: 'Ed25519', hash: 'SHA-512' }),
    ],
    ['that is none', async () => 'nothing'],
  ])('with a certificate %s is refused', async (_what, make) => {
    const certificate = await make()
    expect(() => parseKmsPin({ ...pin, certificate })).toThrow(
      expect.objectContaining({ code: 'MALFORMED' }),
    )
  })
})
