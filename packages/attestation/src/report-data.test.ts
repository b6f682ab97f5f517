import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  type ReleaseBinding,
  type ReportData,
  ReportDataError,
  reportDataFor,
  verifyReportData,
} from './report-data.ts'
import { createSimPlatform } from './sim/platform.ts'
import { verifyEvidence } from './verify-evidence.ts'

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
const fresh = (kind: 'ec' | 'x25519' | 'ed25519' | 'P-384'): Uint8Array => {
  const { publicKey } =
    kind === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : kind === 'P-384'
        ? generateKeyPairSync('ec', { namedCurve: 'P-384' })
        : kind === 'x25519'
          ? generateKeyPairSync('x25519')
          : generateKeyPairSync('ed25519')
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))
}

// The base point of P-256 and the public key of RFC 8032 section 7.1, test 1.
const P256_BASE = hex(
  '3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5',
)
const ED25519 = hex(
  '302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
)
const binding: ReleaseBinding = {
  protocol: 'cloister/attest-release',
  version: 1,
  tee: 'sim',
  kmsId: 'kms.example',
  challenge: new Uint8Array(64).fill(0xc4),
  receiveKey: P256_BASE,
  signKey: ED25519,
  jobDigest: new Uint8Array(32).fill(0x1d),
}

describe('reportDataFor', () => {
  it('is SHA-512 over the fields, each after its length', () => {
    const parts = [
      '00000017',
      Buffer.from('cloister/attest-release').toString('hex'),
      '0000000400000001',
      `00000003${Buffer.from('sim').toString('hex')}`,
      `0000000b${Buffer.from('kms.example').toString('hex')}`,
      `00000040${'c4'.repeat(64)}`,
      `0000005b${Buffer.from(P256_BASE).toString('hex')}`,
      `0000002c${Buffer.from(ED25519).toString('hex')}`,
      `00000020${'1d'.repeat(32)}`,
    ]
    const wanted = createHash('sha512')
      .update(hex(parts.join('')))
      .digest('hex')
    const reportData = reportDataFor(binding)
    expectTypeOf(reportData).toEqualTypeOf<ReportData>()
    expect(Buffer.from(reportData).toString('hex')).toBe(wanted)
    // For other implementations.
    expect(wanted).toBe(
      '9fd2f0681c683dfb78a28a1e649ea1d6fb3b711c8b9093bdb4cd56d5d889f70e' +
        '8d596328902ea6eb7941b40b21abf5977444ef17431f8e4de9f8b102d63c1b66',
    )
  })

  it.each<[change: { [Name in keyof ReleaseBinding]?: unknown }, code: string]>([
    [{ protocol: 'cloister/other' }, 'PROTOCOL'],
    [{ version: 2 }, 'PROTOCOL'],
    [{ tee: 'tpm' }, 'TEE'],
    [{ kmsId: '' }, 'KMS_ID'],
    [{ kmsId: 'k ms' }, 'KMS_ID'],
    [{ kmsId: 'kms\n' }, 'KMS_ID'],
    [{ kmsId: 'kmß' }, 'KMS_ID'],
    [{ kmsId: 'k'.repeat(256) }, 'KMS_ID'],
    [{ challenge: new Uint8Array(31) }, 'CHALLENGE'],
    [{ challenge: new Uint8Array(65) }, 'CHALLENGE'],
    [{ jobDigest: new Uint8Array(31) }, 'JOB_DIGEST'],
    [{ jobDigest: new Uint8Array(33) }, 'JOB_DIGEST'],
    [{ receiveKey: new Uint8Array() }, 'RECEIVE_KEY'],
    [{ receiveKey: ED25519 }, 'RECEIVE_KEY'],
    [{ receiveKey: fresh('P-384') }, 'RECEIVE_KEY'],
    [{ receiveKey: Uint8Array.of(...P256_BASE, 0) }, 'RECEIVE_KEY'],
    [{ receiveKey: P256_BASE.subarray(0, 90) }, 'RECEIVE_KEY'],
    [{ signKey: fresh('x25519') }, 'SIGN_KEY'],
    [{ signKey: P256_BASE }, 'SIGN_KEY'],
    [{ signKey: Uint8Array.of(...ED25519, 0) }, 'SIGN_KEY'],
  ])('refuses %o', (change, code) => {
    const run = () => reportDataFor({ ...binding, ...change } as ReleaseBinding)
    expect(run).toThrow(ReportDataError)
    expect(run).toThrow(expect.objectContaining({ code }))
  })

  it('refuses a point off the curve, and a compressed one', () => {
    const off = P256_BASE.slice()
    off[90] = (off[90] ?? 0) ^ 1
    const point = Uint8Array.of(0x03, ...P256_BASE.subarray(27, 59))
    const compressed = hex(
      `3039301306072a8648ce3d020106082a8648ce3d030107032200${Buffer.from(point).toString('hex')}`,
    )
    expect(
      createPublicKey({ key: Buffer.from(compressed), format: 'der', type: 'spki' })
        .asymmetricKeyType,
    ).toBe('ec')
    for (const receiveKey of [off, compressed]) {
      expect(() => reportDataFor({ ...binding, receiveKey })).toThrow(
        expect.objectContaining({ code: 'RECEIVE_KEY' }),
      )
    }
  })

  it('differs when any field does', () => {
    const keys = [fresh('ec'), fresh('ec'), fresh('ec')]
    const [one = P256_BASE, two = P256_BASE, three = P256_BASE] = keys
    const arbitrary = fc.record({
      protocol: fc.constant('cloister/attest-release' as const),
      version: fc.constant(1 as const),
      tee: fc.constantFrom('sgx' as const, 'sim' as const),
      kmsId: fc.stringMatching(/^[ab]{1,2}$/),
      challenge: fc.uint8Array({ minLength: 32, maxLength: 33, max: 1 }),
      receiveKey: fc.constantFrom(one, two),
      signKey: fc.constant(three),
      jobDigest: fc.uint8Array({ minLength: 32, maxLength: 32, max: 1 }),
    })
    const text = (value: ReleaseBinding) => JSON.stringify(value)
    fc.assert(
      fc.property(arbitrary, arbitrary, (a, b) => {
        const same = Buffer.compare(reportDataFor(a), reportDataFor(b)) === 0
        expect(same).toBe(text(a) === text(b))
      }),
    )
    const { receiveKey, signKey } = { receiveKey: one, signKey: two }
    expect(reportDataFor({ ...binding, receiveKey, signKey })).not.toEqual(
      reportDataFor({ ...binding, receiveKey: signKey, signKey: receiveKey }),
    )
  })
})

describe('verifyReportData', () => {
  const at = new Date('2026-03-01T00:00:00Z')
  const platform = createSimPlatform({ createdAt: at })
  const evidenceOf = (reportData: Uint8Array) =>
    verifyEvidence({
      evidence: platform.quote({
        mrEnclave: new Uint8Array(32),
        mrSigner: new Uint8Array(32),
        isvProdId: 0,
        isvSvn: 0,
        debug: false,
        reportData,
      }),
      collateral: platform.collateral(at),
      roots: [platform.trustRoot],
      at,
    })

  it('accepts what the instance had reported, and nothing else', () => {
    const evidence = evidenceOf(reportDataFor(binding))
    expect(() => verifyReportData(evidence, binding)).not.toThrow()
    for (const change of [
      { kmsId: 'other.example' },
      { challenge: new Uint8Array(64) },
      { jobDigest: new Uint8Array(32) },
      { signKey: fresh('ed25519') },
      { tee: 'sgx' as const },
    ]) {
      expect(() => verifyReportData(evidence, { ...binding, ...change })).toThrow(
        expect.objectContaining({ code: 'MISMATCH' }),
      )
    }
  })

  it('takes the TEE from the evidence, whatever the instance had hashed', () => {
    const claimed = { ...binding, tee: 'sgx' } as const
    const evidence = evidenceOf(reportDataFor(claimed))
    for (const said of [claimed, binding]) {
      expect(() => verifyReportData(evidence, said)).toThrow(
        expect.objectContaining({ code: 'MISMATCH' }),
      )
    }
  })
})
