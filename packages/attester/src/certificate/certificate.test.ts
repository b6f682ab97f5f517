import { execFileSync } from 'node:child_process'
import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { verifyEvidence } from '@cloister/attestation'
import { encode, Tagged } from 'cborg'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { AttestedCertificateError } from '../errors.ts'
import { derOf } from '../vectors.test.support.ts'
import { AT, ENCLAVE, issueWith, simWorld } from '../world.test.support.ts'
import { assertCertificateBinds, parseAttestedCertificate } from './attested-certificate.ts'
import { encodeKeyClaims, INTEROPERABLE_OID, parseConceptualMessage } from './conceptual-message.ts'
import {
  issueAttestedCredentials,
  issueTlsCredentials,
  type TlsCredentials,
} from './credentials.ts'
import { openEnclaveEvidence, openEnclaveReport, pemWithNul } from './legacy.test.support.ts'
import { readOpenEnclaveEvidence, readOpenEnclaveReport } from './open-enclave.ts'

const world = simWorld()
const OPTIONS = { commonName: 'instance', notBefore: AT, validForDays: 1 }
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const code = (wanted: string) =>
  expect.objectContaining({ name: AttestedCertificateError.name, code: wanted })
let own: TlsCredentials
let ownDer: Uint8Array

beforeAll(async () => {
  own = await issueAttestedCredentials({ ...OPTIONS, source: world.source })
  ownDer = derOf(own.cert)
})

function verified(quote: Uint8Array) {
  const { platform } = world
  return verifyEvidence({
    evidence: quote,
    collateral: platform.collateral(AT),
    roots: [platform.trustRoot],
    at: AT,
  })
}

function quoteOf(digest: Uint8Array): Uint8Array {
  const reportData = Buffer.concat([digest, new Uint8Array(32)])
  return world.platform.quote({ ...ENCLAVE, reportData: new Uint8Array(reportData) })
}

describe('the interoperable form', () => {
  it('is what this package writes, and binds the key', () => {
    const attested = parseAttestedCertificate(ownDer)
    expect(attested.form).toBe('interoperable')
    assertCertificateBinds(attested, verified(attested.quote), createPublicKey(own.key), AT)
  })

  it('is read by OpenSSL, which finds the extension and the signature good', () => {
    const text = execFileSync('openssl', ['x509', '-noout', '-text'], {
      input: own.cert,
    }).toString()
    expect(text).toContain('2.23.133.5.4.9')
    expect(text).toContain('ecdsa-with-SHA256')
    const { quote } = parseAttestedCertificate(ownDer)
    const dump = execFileSync('openssl', ['asn1parse', '-inform', 'DER'], { input: ownDer })
    const length = quote.length.toString(16).padStart(4, '0')
    expect(dump.toString()).toContain(`d9ea608259${length}`.toUpperCase())
    const folder = mkdtempSync(join(tmpdir(), 'attested-'))
    try {
      const file = join(folder, 'cert.pem')
      writeFileSync(file, own.cert)
      const flags = ['-no_check_time', '-check_ss_sig', '-CAfile', file, file]
      expect(execFileSync('openssl', ['verify', ...flags]).toString()).toContain('OK')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is not what a certificate without evidence has', async () => {
    const { cert } = await issueTlsCredentials(OPTIONS)
    expect(() => parseAttestedCertificate(derOf(cert))).toThrow(code('NO_EVIDENCE'))
  })

  it('refuses a certificate for another key than the evidence is about', async () => {
    const { quote } = parseAttestedCertificate(ownDer)
    const spkiOfOwn = createPublicKey(own.key).export({ format: 'der', type: 'spki' })
    const claims = encodeKeyClaims(spkiOfOwn)
    const copied = await issueWith(() => [
      { oid: INTEROPERABLE_OID, value: encode(new Tagged(60000, [quote, claims])) },
    ])
    expect(() => parseAttestedCertificate(copied.der)).toThrow(code('BINDING'))
    const claimed = await issueWith(spki => [
      { oid: INTEROPERABLE_OID, value: encode(new Tagged(60000, [quote, encodeKeyClaims(spki)])) },
    ])
    const attested = parseAttestedCertificate(claimed.der)
    expect(() => assertCertificateBinds(attested, verified(quote), claimed.publicKey, AT)).toThrow(
      code('BINDING'),
    )
  })

  it('refuses another key than the handshake was made with', () => {
    const attested = parseAttestedCertificate(ownDer)
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    expect(() => assertCertificateBinds(attested, verified(attested.quote), publicKey, AT)).toThrow(
      code('KEY'),
    )
  })

  it('refuses a certificate before and after its time', () => {
    const attested = parseAttestedCertificate(ownDer)
    for (const at of [AT.getTime() - 1000, AT.getTime() + 86_401_000]) {
      expect(() =>
        assertCertificateBinds(
          attested,
          verified(attested.quote),
          attested.publicKey,
          new Date(at),
        ),
      ).toThrow(code('VALIDITY'))
    }
  })

  it.each<[string, (quote: Uint8Array, claims: Uint8Array, hash: Uint8Array) => unknown]>([
    ['a local report', (quote, claims) => new Tagged(60001, [quote, claims])],
    ['a legacy local report', (quote, claims) => new Tagged(60002, [quote, claims])],
    ['another tag', (quote, claims) => new Tagged(60003, [quote, claims])],
    ['no tag', (quote, claims) => [quote, claims]],
    ['three members', (quote, claims) => new Tagged(60000, [quote, claims, 0])],
    ['claims that are no bytes', quote => new Tagged(60000, [quote, 'claims'])],
    ['claims that are no map', quote => new Tagged(60000, [quote, encode([1])])],
    ['no hash of a key', quote => new Tagged(60000, [quote, encode({ nonce: quote })])],
    [
      'SHA-1',
      (quote, _, hash) => new Tagged(60000, [quote, encode({ 'pubkey-hash': encode([0, hash]) })]),
    ],
    [
      'a hash too many',
      (quote, _, hash) =>
        new Tagged(60000, [quote, encode({ 'pubkey-hash': encode([1, hash, hash]) })]),
    ],
  ])('refuses %s', async (_, contents) => {
    const made = await issueWith(spki => {
      const claims = encodeKeyClaims(spki)
      const value = encode(contents(quoteOf(sha256(claims)), claims, sha256(spki)))
      return [{ oid: INTEROPERABLE_OID, value }]
    })
    expect(() => parseAttestedCertificate(made.der)).toThrow(code('EVIDENCE'))
  })

  it('accepts SHA-384 and SHA-512 of the key, and further claims', async () => {
    for (const [algorithm, name] of [
      [7, 'sha384'],
      [8, 'sha512'],
    ] as const) {
      const made = await issueWith(spki => {
        const hash = new Uint8Array(createHash(name).update(spki).digest())
        const claims = encode({ 'pubkey-hash': encode([algorithm, hash]), nonce: hash, more: hash })
        return [
          {
            oid: INTEROPERABLE_OID,
            value: encode(new Tagged(60000, [quoteOf(sha256(claims)), claims])),
          },
        ]
      })
      const attested = parseAttestedCertificate(made.der)
      assertCertificateBinds(attested, verified(attested.quote), made.publicKey, AT)
    }
  })
})

function changed(bytes: Uint8Array, at: number, to: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const index = at < 0 ? copy.length + at : at
  copy[index] = copy[index] === to ? to ^ 1 : to
  return copy
}

const openEnclaveEvidenceFor = (spki: Uint8Array) => {
  const claims = pemWithNul(spki)
  return openEnclaveEvidence(quoteOf(sha256(claims)), claims)
}

describe('legacy forms', () => {
  it.each([
    ['gramine', '0.6.9.42.840.113741.1337.6', (spki: Uint8Array) => quoteOf(sha256(spki))],
    ['gramine', '1.2.840.113741.1337.6', (spki: Uint8Array) => quoteOf(sha256(spki))],
    ['intel-sgx-sdk', '1.2.840.113741.1.13.1', (spki: Uint8Array) => quoteOf(sha256(spki))],
    [
      'open-enclave',
      '1.2.840.113556.10.1.1',
      (spki: Uint8Array) => openEnclaveReport(quoteOf(sha256(pemWithNul(spki)))),
    ],
    [
      'open-enclave',
      '1.3.6.1.4.1.311.105.1',
      (spki: Uint8Array) => openEnclaveReport(quoteOf(sha256(pemWithNul(spki)))),
    ],
    ['open-enclave-evidence', '1.2.840.113556.10.1.2', openEnclaveEvidenceFor],
    ['open-enclave-evidence', '1.3.6.1.4.1.311.105.2', openEnclaveEvidenceFor],
  ])('%s, OID %s, binds the key', async (form, oid, valueFor) => {
    const made = await issueWith(spki => [{ oid, value: valueFor(spki) }])
    const attested = parseAttestedCertificate(made.der)
    expect(attested.form).toBe(form)
    assertCertificateBinds(attested, verified(attested.quote), made.publicKey, AT)
  })

  it.each([
    ['is local', 4, 1],
    ['is of another version', 0, 2],
    ['lies about its length', 9, 0xff],
  ])('refuses an Open Enclave report that %s', async (_, offset, value) => {
    const made = await issueWith(spki => {
      const bytes = openEnclaveReport(quoteOf(sha256(pemWithNul(spki))))
      bytes[offset] = value
      return [{ oid: '1.3.6.1.4.1.311.105.1', value: bytes }]
    })
    expect(() => parseAttestedCertificate(made.der)).toThrow(code('EVIDENCE'))
  })

  it.each<[string, (spki: Uint8Array) => Uint8Array, string]>([
    ['of another version', spki => changed(openEnclaveEvidenceFor(spki), 0, 2), 'EVIDENCE'],
    ['of another format', spki => changed(openEnclaveEvidenceFor(spki), 4, 0), 'EVIDENCE'],
    [
      'that lies about its length',
      spki => changed(openEnclaveEvidenceFor(spki), 24, 0),
      'EVIDENCE',
    ],
    [
      'whose quote is longer than it is',
      spki => changed(openEnclaveEvidenceFor(spki), 32 + 434, 0xff),
      'EVIDENCE',
    ],
    [
      'whose quote is of version 4',
      spki => changed(openEnclaveEvidenceFor(spki), 32, 4),
      'EVIDENCE',
    ],
    [
      'with another key in its claims',
      spki => changed(openEnclaveEvidenceFor(spki), -40, 1),
      'BINDING',
    ],
    [
      'without claims',
      spki => openEnclaveEvidence(quoteOf(sha256(pemWithNul(spki))), new Uint8Array()),
      'BINDING',
    ],
  ])('refuses Open Enclave evidence %s', async (_, value, wanted) => {
    const oid = '1.3.6.1.4.1.311.105.2'
    const made = await issueWith(spki => [{ oid, value: value(spki) }])
    expect(() => parseAttestedCertificate(made.der)).toThrow(code(wanted))
  })

  it('refuses Open Enclave evidence whose quote is not about its claims', async () => {
    const made = await issueWith(spki => [
      {
        oid: '1.3.6.1.4.1.311.105.2',
        value: openEnclaveEvidence(quoteOf(sha256(spki)), pemWithNul(spki)),
      },
    ])
    const attested = parseAttestedCertificate(made.der)
    expect(() =>
      assertCertificateBinds(attested, verified(attested.quote), made.publicKey, AT),
    ).toThrow(code('BINDING'))
  })

  it('gives a value or a coded error, whatever Open Enclave’s extensions hold', () => {
    const spki = new Uint8Array(createPublicKey(own.key).export({ format: 'der', type: 'spki' }))
    const whole = openEnclaveEvidenceFor(spki)
    const values = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.tuple(fc.nat(whole.length - 1), fc.nat(255)).map(([at, to]) => changed(whole, at, to)),
      fc.nat(whole.length).map(end => whole.subarray(0, end)),
    )
    for (const read of [readOpenEnclaveEvidence, readOpenEnclaveReport]) {
      fc.assert(
        fc.property(values, value => {
          try {
            expect(read(value, spki).boundDigest.length).toBe(32)
          } catch (error) {
            expect(error).toBeInstanceOf(AttestedCertificateError)
          }
        }),
        { numRuns: process.env['SLOW'] === '1' ? 50_000 : 1000 },
      )
    }
  })

  it('are not looked at beside the interoperable form, be that as bad as it is', async () => {
    const made = await issueWith(spki => [
      { oid: '1.2.840.113741.1337.6', value: quoteOf(sha256(spki)) },
      { oid: INTEROPERABLE_OID, value: Uint8Array.of(0) },
    ])
    expect(() => parseAttestedCertificate(made.der)).toThrow(code('EVIDENCE'))
  })
})

describe('bad input', () => {
  it('is refused with a coded error: every truncation', () => {
    for (let end = 0; end < ownDer.length; end++) {
      expect(() => parseAttestedCertificate(ownDer.subarray(0, end))).toThrow(
        AttestedCertificateError,
      )
    }
  })

  it('is refused with a coded error: bits flipped anywhere', () => {
    const flips = process.env['SLOW'] === '1' ? ownDer.length * 8 : 2000
    for (let i = 0; i < flips; i++) {
      const bit = process.env['SLOW'] === '1' ? i : (i * 7919) % (ownDer.length * 8)
      const bytes = ownDer.slice()
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(() => parseAttestedCertificate(bytes)).toThrow(AttestedCertificateError)
    }
  })

  it('is refused before it is looked at: 64 MiB', () => {
    expect(() => parseAttestedCertificate(new Uint8Array(64 * 1024 * 1024))).toThrow(code('FORMAT'))
  })

  it('gives a value or a coded error, whatever the extension holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (tail, tagged) => {
        const bytes = tagged ? Uint8Array.of(0xd9, 0xea, 0x60, 0x82, ...tail) : tail
        try {
          const { quote, claims } = parseConceptualMessage(bytes)
          expect(encode(new Tagged(60000, [quote, claims]))).toEqual(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(AttestedCertificateError)
        }
      }),
      { numRuns: process.env['SLOW'] === '1' ? 50_000 : 2000 },
    )
  })
})
