import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hexOf } from '../bytes/text.ts'
import { CodedError } from '../errors.ts'
import { createSimSnpPlatform, type SimSnpOptions } from '../sim/snp-platform.ts'
import type { TrustRoot } from '../verify/roots.ts'
import { verifyCollateral } from '../verify/verified-collateral.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { splitPemCertificates } from '../x509/pem.ts'
import { encodeSnpCertificateTable, parseSnpCertificateTable } from './certificate-table.ts'
import { REVOCATION_UNCHECKED, type SnpCollateral } from './collateral.ts'
import { parseHclEnvelope } from './hcl.ts'
import {
  encodeSnpReport,
  parseSnpReport,
  SNP_POLICY,
  SNP_SIGNED_SIZE,
  type SnpReport,
} from './report.ts'
import { encodeSnpTcb, parseSnpTcb, productOfCpuid, SNP_PRODUCTS } from './tcb.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const DAY = 24 * 60 * 60 * 1000
const createdAt = new Date(AT.getTime() - DAY)
const milan = createSimSnpPlatform({ createdAt })
const other = createSimSnpPlatform({ createdAt })

type Guest = Partial<Omit<SnpReport, 'signature'>>

function judge(
  platform = milan,
  guest: Guest = {},
  collateral: Partial<SnpCollateral> = {},
  roots: readonly TrustRoot[] = [platform.trustRoot],
) {
  return verifyEvidence({
    evidence: platform.report(guest),
    collateral: { ...platform.collateral(AT), ...collateral },
    roots,
    at: AT,
  })
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return String(error.code)
    throw error
  }
  return 'none'
}

const made = (options: Partial<SimSnpOptions>) => createSimSnpPlatform({ createdAt, ...options })

describe('a simulated SEV-SNP platform', () => {
  it.each(SNP_PRODUCTS)('of %s verifies, with a VCEK as with a VLEK', product => {
    for (const signingKey of ['VCEK', 'VLEK'] as const) {
      const claims = judge(made({ product, signingKey }))
      expect(claims).toMatchObject({ kind: 'snp', tee: 'sim', product })
      expect(claims.vek.kind).toBe(signingKey)
      expect(claims.vek.hwId === undefined).toBe(signingKey === 'VLEK')
      expect(claims.revocation).toMatchObject({ checked: true, issued: AT })
      expect(claims.earliestExpiration).toEqual(new Date(AT.getTime() + 30 * DAY))
    }
  })

  it.each([2, 3, 5] as const)('reports in version %i', version => {
    const { report } = judge(milan, { version })
    expect(report.version).toBe(version)
    expect(report.cpuid === undefined).toBe(version < 3)
    expect(report.mitigations === undefined).toBe(version < 5)
  })

  it('verifies in debug, with old firmware and at any VMPL: policy refuses them', () => {
    const claims = judge(milan, { policy: SNP_POLICY.reserved1 | SNP_POLICY.debug, vmpl: 3 })
    expect(claims.report.policy & SNP_POLICY.debug).not.toBe(0n)
    expect(claims.report.vmpl).toBe(3)
  })

  it('is refused by a verifier that pins another root, or hardware’s', () => {
    expect(codeOf(() => judge(milan, {}, {}, [other.trustRoot]))).toBe('UNTRUSTED_ROOT')
    expect(codeOf(() => judge(milan, {}, {}, []))).toBe('UNTRUSTED_ROOT')
    const asGenoa = { ...milan.trustRoot, product: 'Genoa' } as const
    expect(codeOf(() => judge(milan, {}, {}, [asGenoa]))).toBe('PRODUCT')
    const asAmd = { ...milan.trustRoot, kind: 'amd' } as const
    expect(judge(milan, {}, {}, [asAmd]).tee).toBe('sev-snp')
    expect(codeOf(() => judge(milan, {}, {}, [milan.trustRoot, asAmd]))).toBe('AMBIGUOUS_ROOT')
  })

  const unfit: readonly (readonly [string, Guest, string])[] = [
    ['another signing key', { signingKey: 'VLEK' }, 'SIGNING_KEY'],
    ['another chip', { chipId: new Uint8Array(64).fill(7) }, 'CHIP_ID'],
    ['another processor', { cpuid: { family: 0x1a, model: 2, stepping: 1 } }, 'PRODUCT'],
    ['an unknown processor', { cpuid: { family: 0x17, model: 1, stepping: 1 } }, 'PRODUCT'],
    [
      'another reported TCB',
      {
        reportedTcb: encodeSnpTcb('Milan', { bootLoader: 4, tee: 0, snp: 24, microcode: 220 }),
      },
      'REPORTED_TCB',
    ],
    [
      'more committed than current',
      {
        committedTcb: encodeSnpTcb('Milan', { bootLoader: 5, tee: 0, snp: 24, microcode: 219 }),
      },
      'COMMITTED_TCB',
    ],
    ['reserved TCB bytes', { launchTcb: Uint8Array.of(4, 0, 1, 0, 0, 0, 24, 219) }, 'RESERVED'],
  ]
  it.each(unfit)('with %s is refused', (_what, guest, code) => {
    expect(codeOf(() => judge(milan, guest))).toBe(code)
  })

  it('may mask its chip, which the key’s certificate names all the same', () => {
    const { hwId } = judge(milan).vek
    const masked = judge(milan, { chipId: new Uint8Array(64) })
    expect(masked.report.chipId.every(byte => byte === 0)).toBe(true)
    expect(masked.vek.hwId).toEqual(hwId)
  })

  it('that masks its key signs nothing, and is refused', () => {
    const evidence = milan.report({ maskChipKey: true })
    evidence.fill(0, SNP_SIGNED_SIZE)
    const show = { evidence, collateral: milan.collateral(AT), roots: [milan.trustRoot], at: AT }
    expect(codeOf(() => verifyEvidence(show))).toBe('REPORT_SIGNATURE')
  })

  it.each([1, 4, 6])('in a report of version %i, which nobody has read, is told so', version => {
    const evidence = milan.report({})
    evidence[0] = version
    const show = { evidence, collateral: milan.collateral(AT), roots: [milan.trustRoot], at: AT }
    expect(() => verifyEvidence(show)).toThrow(
      expect.objectContaining({ code: 'VERSION', message: expect.stringContaining('report') }),
    )
  })

  it('is refused when its intermediate or VLEK is revoked; a VCEK is not on AMD’s list', () => {
    expect(codeOf(() => judge(made({ revoked: ['intermediate'] })))).toBe('REVOKED')
    expect(codeOf(() => judge(made({ revoked: ['vlek'], signingKey: 'VLEK' })))).toBe('REVOKED')
  })

  it('is refused with a list that is missing, empty, garbage, stale or another’s', () => {
    const { crl } = milan.collateral(AT)
    if (crl === REVOCATION_UNCHECKED) throw new Error('a list')
    const flipped = crl.slice()
    flipped[40] = (flipped[40] ?? 0) ^ 1
    const last = crl.slice()
    last[last.length - 1] = (last.at(-1) ?? 0) ^ 1
    const withCrl = (list: Uint8Array) => codeOf(() => judge(milan, {}, { crl: list }))
    expect(withCrl(new Uint8Array())).toBe('TRUNCATED')
    expect(withCrl(new Uint8Array(64).fill(0x30))).not.toBe('none')
    expect(withCrl(flipped)).not.toBe('none')
    expect(withCrl(last)).toBe('CRL_SIGNATURE')
    expect(withCrl(other.collateral(AT).crl as Uint8Array)).toBe('CRL_SIGNATURE')
    const genoa = made({ product: 'Genoa' }).collateral(AT).crl as Uint8Array
    expect(withCrl(genoa)).toBe('CRL_ISSUER')
    expect(codeOf(() => judge(made({ expiredCrl: true })))).toBe('CRL_EXPIRED')
  })

  it('says so when revocation was not checked', () => {
    expect(judge(milan, {}, { crl: REVOCATION_UNCHECKED }).revocation).toEqual({ checked: false })
  })

  it('is refused with certificates out of order, missing, repeated or of another platform', () => {
    const { chain, vek } = milan.collateral(AT)
    const [ask = '', ark = ''] = String(chain).split(/(?<=-----END CERTIFICATE-----\n)/)
    const withChain = (text: string) => codeOf(() => judge(milan, {}, { chain: text }))
    expect(withChain(ark + ask)).toBe('UNTRUSTED_ROOT')
    expect(withChain(ark)).toBe('LENGTH')
    expect(withChain(ask + ask + ark)).toBe('LENGTH')
    expect(withChain(ark + ark)).toBe('NAME')
    const foreign = other.collateral(AT)
    expect(codeOf(() => judge(milan, {}, { chain: foreign.chain }))).toBe('UNTRUSTED_ROOT')
    expect(codeOf(() => judge(milan, {}, { vek: foreign.vek }))).toBe('SIGNATURE')
    const [askDer] = splitPemCertificates(ask)
    expect(codeOf(() => judge(milan, {}, { vek: askDer ?? vek }))).toBe('VALUE')
    expect(codeOf(() => judge(milan, {}, { vek: vek.slice(0, -1) }))).toBe('TRUNCATED')
  })

  it('is refused before and after its certificates are valid', () => {
    const judgedAt = (at: Date) => () =>
      verifyEvidence({
        evidence: milan.report({}),
        collateral: milan.collateral(at),
        roots: [milan.trustRoot],
        at,
      })
    expect(codeOf(judgedAt(new Date(createdAt.getTime() - DAY)))).toBe('NOT_YET_VALID')
    expect(codeOf(judgedAt(new Date(createdAt.getTime() + 4000 * DAY)))).toBe('EXPIRED')
    expect(codeOf(judgedAt(new Date(Number.NaN)))).not.toBe('none')
  })

  it('is as good from collateral verified before, of its own kind', () => {
    const roots = [milan.trustRoot]
    const collateral = verifyCollateral({ collateral: milan.collateral(AT), roots, at: AT })
    expect(collateral).toMatchObject({ of: 'SEV-SNP', product: 'Milan' })
    const evidence = milan.report({})
    const fresh = { collateral: milan.collateral(AT), roots, at: AT }
    expect(verifyEvidence({ evidence, collateral, roots, at: AT })).toEqual(
      verifyEvidence({ evidence, ...fresh }),
    )
    const quote = Buffer.concat([Uint8Array.of(3, 0, 2, 0), new Uint8Array(432)])
    expect(codeOf(() => verifyEvidence({ evidence: quote, collateral, roots, at: AT }))).toBe(
      'OTHER_TEE',
    )
  })

  it('is refused with any one bit of the report changed', () => {
    const roots = [milan.trustRoot]
    const collateral = verifyCollateral({ collateral: milan.collateral(AT), roots, at: AT })
    const evidence = milan.report({})
    for (let bit = 3; bit < evidence.length * 8; bit += 11) {
      const changed = evidence.slice()
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const run = () => verifyEvidence({ evidence: changed, collateral, roots, at: AT })
      expect([bit, codeOf(run)]).not.toEqual([bit, 'none'])
    }
  })
})

describe('a SEV-SNP report', () => {
  it('is refused cut at any byte, and with bytes after it', () => {
    const report = milan.report({})
    for (let length = 0; length < report.length; length++) {
      expect(codeOf(() => parseSnpReport(report.subarray(0, length)))).toBe('TRUNCATED')
    }
    expect(codeOf(() => parseSnpReport(Buffer.concat([report, new Uint8Array(1)])))).toBe('LENGTH')
    expect(codeOf(() => parseSnpReport(new Uint8Array(64 << 20)))).toBe('LENGTH')
  })

  it('gives a report or a coded error for any bytes, and is written as it was read', () => {
    const base = milan.report({})
    const edits = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 })
    fc.assert(
      fc.property(edits, list => {
        const bytes = base.slice()
        for (const [at, value] of list) bytes[at] = value
        try {
          expect(hexOf(encodeSnpReport(parseSnpReport(bytes)))).toBe(hexOf(bytes))
        } catch (error) {
          if (!(error instanceof CodedError)) throw error
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a TCB version', () => {
  it.each(SNP_PRODUCTS)('of %s is written as it was read', product => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), bytes => {
        try {
          expect(encodeSnpTcb(product, parseSnpTcb(product, bytes))).toEqual(bytes)
        } catch (error) {
          if (!(error instanceof CodedError)) throw error
          expect(error.code).toBe('RESERVED')
        }
      }),
    )
  })

  it('has its parts where the processor puts them', () => {
    const bytes = Uint8Array.of(1, 2, 3, 4, 0, 0, 0, 5)
    const turin = { fmc: 1, bootLoader: 2, tee: 3, snp: 4, microcode: 5 }
    expect(parseSnpTcb('Turin', bytes)).toEqual(turin)
    expect(parseSnpTcb('Milan', Uint8Array.of(1, 2, 0, 0, 0, 0, 3, 4))).toEqual({
      ...{ bootLoader: 1, tee: 2, snp: 3, microcode: 4 },
    })
    expect(productOfCpuid({ family: 0x19, model: 0xa0, stepping: 2 })).toBe('Genoa')
    expect(productOfCpuid({ family: 0x19, model: 0x20, stepping: 2 })).toBeUndefined()
  })
})

describe('a certificate table', () => {
  const { vek, crl } = milan.collateral(AT)
  const table = { vcek: vek, crl: crl as Uint8Array }

  it('is read as it was written, with GUIDs in the order of their text', () => {
    const bytes = encodeSnpCertificateTable(table)
    expect(Buffer.from(bytes.subarray(0, 4)).toString('hex')).toBe('63da758d')
    expect(parseSnpCertificateTable(bytes)).toEqual(table)
    expect(parseSnpCertificateTable(bytes).vcek).toEqual(vek)
    expect(parseCertificate(parseSnpCertificateTable(bytes).vcek ?? vek).serial).not.toBe('')
  })

  it('is refused where lengths lie, an entry comes twice or the end is missing', () => {
    const bytes = encodeSnpCertificateTable(table)
    const lying = bytes.slice()
    lying[23] = 0x7f
    expect(codeOf(() => parseSnpCertificateTable(lying))).toBe('LENGTH')
    const inside = bytes.slice()
    inside[16] = 8
    expect(codeOf(() => parseSnpCertificateTable(inside))).toBe('LENGTH')
    const twice = bytes.slice()
    twice.copyWithin(24, 0, 24)
    expect(codeOf(() => parseSnpCertificateTable(twice))).toBe('LENGTH')
    expect(codeOf(() => parseSnpCertificateTable(bytes.subarray(0, 30)))).not.toBe('none')
    expect(codeOf(() => parseSnpCertificateTable(new Uint8Array(1 << 20)))).toBe('LIMIT')
  })

  it('and an envelope give a value or a coded error for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
        codeOf(() => parseSnpCertificateTable(bytes))
        codeOf(() => parseHclEnvelope(Buffer.concat([Buffer.from('HCLA'), bytes])))
      }),
      { numRuns: 1000 },
    )
  })
})
