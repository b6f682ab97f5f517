import { createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CodedError } from '../errors.ts'
import { type SignatureVerifier, vendorSignatures } from '../signatures.ts'
import { HAS_VECTORS, SKIPPED, VECTORS } from '../vectors.test.support.ts'
import { parseCertificate } from './certificate.ts'
import { verifyChainKnowing } from './chain.ts'
import { parseCrl } from './crl.ts'
import { Known } from './known.ts'

const bytesIn = (name: string) => new Uint8Array(readFileSync(`${VECTORS}/x509-crl-pkits/${name}`))
const certificate = (name: string) => parseCertificate(bytesIn(`${name}.crt`))
const list = (name: string) => parseCrl(bytesIn(`${name}.crl`))

/**
 * NIST's certificates are signed with RSASSA-PKCS1-v1_5, which no vendor uses and which therefore
 * does not verify. Here, and only here, it stands in for the vendors' algorithm, so that all else of
 * a chain's verification meets certificates and lists that somebody else made.
 */
const pkcs1: SignatureVerifier = {
  ...vendorSignatures,
  algorithmOf: oid => (oid === '1.2.840.113549.1.1.11' ? 'PS384' : undefined),
  keyFromSpki: spki => {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
    return { verifies: (data, signature) => verify('sha256', data, key, signature) }
  },
}

const LISTS = ['TrustAnchorRootCRL', 'GoodCACRL', 'RevokedsubCACRL']
const AT = new Date('2020-01-01T00:00:00Z')

function codeOf(
  names: readonly string[],
  { lists = LISTS, at = AT, signatures = pkcs1 } = {},
): string {
  const chain = [...names, 'TrustAnchorRootCertificate'].map(certificate)
  const root = chain.at(-1)
  if (root === undefined) throw new Error('a chain')
  const options = { chain, roots: [root.spki], crls: lists.map(list), at }
  try {
    verifyChainKnowing(new Known(undefined, signatures), options)
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'none'
}

describe.skipIf(!HAS_VECTORS)(`NIST PKITS${SKIPPED}`, () => {
  it('a CA that is in order', () => {
    expect(codeOf(['GoodCACert'])).toBe('none')
    expect(codeOf(['GoodCACert'], { at: new Date('2031-01-01') })).toBe('EXPIRED')
    expect(codeOf(['GoodCACert'], { at: new Date('2009-01-01') })).toBe('NOT_YET_VALID')
  })

  it('4.4.1 missing CRL', () => {
    expect(codeOf(['InvalidMissingCRLTest1EE', 'NoCRLCACert'])).toBe('CRL_ISSUER')
  })

  it('4.4.2 revoked CA', () => {
    const chain = ['InvalidRevokedCATest2EE', 'RevokedsubCACert', 'GoodCACert']
    expect(codeOf(chain)).toBe('REVOKED')
  })

  it('4.4.3 revoked end entity', () => {
    expect(codeOf(['InvalidRevokedEETest3EE', 'GoodCACert'])).toBe('REVOKED')
  })

  it('4.4.4 a list with a bad signature', () => {
    // NIST's own has one bit too few, which strict DER refuses before its signature is looked at.
    expect(() => list('BadCRLSignatureCACRL')).toThrow(expect.objectContaining({ code: 'VALUE' }))
    const [leaf, ca] = ['InvalidRevokedEETest3EE', 'GoodCACert'].map(certificate)
    const root = certificate('TrustAnchorRootCertificate')
    if (leaf === undefined || ca === undefined) throw new Error('both are there')
    const forged = { ...list('GoodCACRL'), revoked: new Map(), signature: root.signature }
    const crls = [list('TrustAnchorRootCRL'), forged]
    const options = { chain: [leaf, ca, root], roots: [root.spki], crls, at: AT }
    expect(() => verifyChainKnowing(new Known(undefined, pkcs1), options)).toThrow(
      expect.objectContaining({ code: 'CRL_SIGNATURE' }),
    )
  })

  it('is refused whole by the vendors’ profile, which knows no such signatures', () => {
    expect(codeOf(['GoodCACert'], { signatures: vendorSignatures })).toBe('SIGNATURE')
  })
})
