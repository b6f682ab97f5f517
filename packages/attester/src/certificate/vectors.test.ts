import { readFileSync } from 'node:fs'
import {
  INTEL_ROOT,
  parseQuote,
  parseRaTlsCertificate,
  verifyEvidence,
} from '@cloister/attestation'
import { describe, expect, it } from 'vitest'
import {
  certificateFile,
  HAS_VECTORS,
  iceLakeCollateral,
  RATLS,
  SKIPPED,
} from '../vectors.test.support.ts'
import { assertCertificateBinds, parseAttestedCertificate } from './attested-certificate.ts'
import { evidenceOf } from './evidence-extension.ts'

interface Expected {
  readonly curve: string
  readonly extensions: readonly {
    readonly oid: string
    readonly mrEnclave: string
    readonly mrSigner: string
    readonly reportData: string
    readonly claimsHash?: string
    readonly pubkeyHash?: string
  }[]
}

const INTEROPERABLE = '2.23.133.5.4.9'
const EXPECTED: Readonly<Record<string, Expected>> = HAS_VECTORS
  ? JSON.parse(readFileSync(`${RATLS}/expected.json`, 'utf8'))
  : {}
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe.runIf(HAS_VECTORS)(`certificates of other implementations${SKIPPED}`, () => {
  it.each(Object.entries(EXPECTED))('%s: the interoperable form is read', (name, expected) => {
    const attested = parseAttestedCertificate(certificateFile(`${name}-cert.pem`))
    const wanted = expected.extensions.find(({ oid }) => oid === INTEROPERABLE)
    expect(attested.form).toBe('interoperable')
    expect(attested.publicKey.asymmetricKeyDetails?.namedCurve).toBe(
      expected.curve.replace('secp256r1', 'prime256v1'),
    )
    expect(hex(attested.boundDigest)).toBe(wanted?.claimsHash)
    const { body } = parseQuote(attested.quote)
    expect(hex(body.report.reportData)).toBe(wanted?.reportData)
    if (body.kind !== 'enclave') throw new Error('an enclave')
    expect(hex(body.report.mrEnclave)).toBe(wanted?.mrEnclave)
    expect(hex(body.report.mrSigner)).toBe(wanted?.mrSigner)
  })

  it.each(['gramine', 'rats-tls'])('%s: verifies up to Intel and binds its key', name => {
    const attested = parseAttestedCertificate(certificateFile(`${name}-cert.pem`))
    const { collateral, at } = iceLakeCollateral()
    const verified = verifyEvidence({
      evidence: attested.quote,
      collateral,
      roots: [INTEL_ROOT],
      at,
    })
    expect(verified).toMatchObject({ tee: 'sgx', tcbStatus: 'OutOfDate' })
    assertCertificateBinds(attested, verified, attested.publicKey, at)
    // Another certificate's quote, as good as it is, is about another key.
    const other = parseAttestedCertificate(
      certificateFile(name === 'gramine' ? 'rats-tls-cert.pem' : 'gramine-cert.pem'),
    )
    expect(() => assertCertificateBinds(other, verified, other.publicKey, at)).toThrow(
      expect.objectContaining({ code: 'BINDING' }),
    )
  })

  it('rats-tls: refused when it has expired, though its evidence still verifies', () => {
    const attested = parseAttestedCertificate(certificateFile('rats-tls-cert.pem'))
    const { collateral, at } = iceLakeCollateral()
    const verified = verifyEvidence({
      evidence: attested.quote,
      collateral,
      roots: [INTEL_ROOT],
      at,
    })
    const later = new Date('2024-02-22T17:10:23Z')
    expect(() => assertCertificateBinds(attested, verified, attested.publicKey, later)).toThrow(
      expect.objectContaining({ code: 'VALIDITY' }),
    )
  })

  it('gramine: the legacy form alone binds the key by its SubjectPublicKeyInfo', () => {
    const { boundDigest, form, quote } = evidenceOf(without(INTEROPERABLE, 'gramine-cert.pem'))
    expect(form).toBe('gramine')
    expect(bearsDigest(quote, boundDigest)).toBe(true)
  })

  it('intel-sgxsdk: the legacy form alone does not bind the key, for its quote binds claims', () => {
    const { boundDigest, form, quote } = evidenceOf(without(INTEROPERABLE, 'intel-sgxsdk-cert.pem'))
    expect(form).toBe('intel-sgx-sdk')
    expect(bearsDigest(quote, boundDigest)).toBe(false)
  })

  it.each(['ec', 'rsa'])(
    'Open Enclave, %s: its key is bound as PEM; its own signature is bad',
    key => {
      const der = certificateFile(`openenclave_sgx_cert_${key}_bad.der`)
      const { boundDigest, form, quote } = evidenceOf(parseRaTlsCertificate(der))
      expect(form).toBe('open-enclave')
      expect(bearsDigest(quote, boundDigest)).toBe(true)
      expect(() => parseAttestedCertificate(der)).toThrow(
        expect.objectContaining({ code: 'SELF_SIGNATURE' }),
      )
    },
  )
})

function without(oid: string, name: string) {
  const certificate = parseRaTlsCertificate(certificateFile(name))
  return {
    ...certificate,
    extensions: certificate.extensions.filter(extension => extension.oid !== oid),
  }
}

function bearsDigest(quote: Uint8Array, digest: Uint8Array): boolean {
  const wanted = Buffer.concat([digest, new Uint8Array(32)])
  return wanted.equals(parseQuote(quote).body.report.reportData)
}
