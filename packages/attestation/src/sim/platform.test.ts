import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Collateral } from '../collateral/collateral.ts'
import { PUBLISHED_TCB_STATUSES } from '../collateral/tcb-status.ts'
import { CodedError } from '../errors.ts'
import { acceptedFlips, every } from '../flips.test.support.ts'
import { certificatesInQuote } from '../quote/certificates.ts'
import { parseQuote } from '../quote/quote.ts'
import type { EvidenceClaims } from '../verify/claims.ts'
import type { TrustRoot } from '../verify/roots.ts'
import { verifyCollateral } from '../verify/verified-collateral.ts'
import { verifyEvidence } from '../verify-evidence.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { parseCrl } from '../x509/crl.ts'
import { parsePckExtension } from '../x509/pck.ts'
import { encodePemCertificates } from '../x509/pem.ts'
import type { SimConditions } from './conditions.ts'
import { SIM_QE_VENDOR_ID } from './names.ts'
import { encodePckExtension } from './pck-extension.ts'
import { createSimPlatform, type SimPlatform, withSimConditions } from './platform.ts'
import type { SimEnclave } from './quote.ts'
import { exportSimPlatform, importSimPlatform, SimPlatformError } from './stored-platform.ts'

const AT = new Date('2026-03-01T12:00:00.500Z')
const DAY = 24 * 60 * 60 * 1000
const enclave: SimEnclave = {
  mrEnclave: new Uint8Array(32).fill(1),
  mrSigner: new Uint8Array(32).fill(2),
  isvProdId: 3,
  isvSvn: 4,
  debug: false,
  reportData: new Uint8Array(64).fill(5),
}
const platform = createSimPlatform({ createdAt: AT })
const other = createSimPlatform({ createdAt: AT })

interface Judged {
  readonly of?: SimPlatform
  readonly evidence?: Uint8Array
  readonly collateral?: Partial<Collateral>
  readonly roots?: readonly TrustRoot[]
  readonly at?: Date
}
const judge = ({ of = platform, at = AT, ...input }: Judged) =>
  verifyEvidence({
    evidence: input.evidence ?? of.quote(enclave),
    collateral: { ...of.collateral(AT), ...input.collateral },
    roots: input.roots ?? [of.trustRoot],
    at,
  })
const reportOf = (claims: EvidenceClaims) => (claims.kind === 'enclave' ? claims.report : undefined)
const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return error.code
    throw error
  }
  return 'none'
}
const underConditions = (conditions: Partial<SimConditions>) =>
  judge({ of: withSimConditions(platform, conditions) })

describe('evidence of a simulated platform', () => {
  it('verifies, and claims what was quoted', () => {
    const claims = judge({})
    expect(claims.tee).toBe('sim')
    expect([claims.tcbStatus, claims.platformTcbStatus, claims.qeTcbStatus]).toEqual(
      Array(3).fill('UpToDate'),
    )
    expect(claims).toMatchObject({ kind: 'enclave' })
    expect(reportOf(claims)).toMatchObject({
      mrEnclave: enclave.mrEnclave,
      mrSigner: enclave.mrSigner,
      isvProdId: 3,
      isvSvn: 4,
      reportData: enclave.reportData,
      attributes: { flags: 0b101n },
    })
    expect(
      reportOf(judge({ evidence: platform.quote({ ...enclave, debug: true }) })),
    ).toMatchObject({
      attributes: { flags: 0b111n },
    })
    expect(claims.earliestExpiration).toEqual(new Date('2026-03-31T12:00:00Z'))
    expect(claims.pck.tcbComponents).toHaveLength(16)
  })

  it('bears a vendor id of its own', () => {
    expect(new TextDecoder().decode(SIM_QE_VENDOR_ID)).toBe('cloister-sim-qe1')
    expect(parseQuote(platform.quote(enclave)).header.qeVendorId).toEqual(SIM_QE_VENDOR_ID)
  })

  it('is refused by a verifier that does not pin its root', () => {
    const { spki } = platform.trustRoot
    const intel = Buffer.from('939a7233f79c4ca9940a0db3957f0607', 'hex')
    const sgx = { kind: 'intel', spki: other.trustRoot.spki, qeVendorId: intel } as const
    const refusals: [roots: readonly TrustRoot[], code: string][] = [
      [[], 'QE_VENDOR'],
      [[sgx], 'QE_VENDOR'],
      // The simulated root's key does not help a quote of another vendor id.
      [[{ ...sgx, spki }], 'QE_VENDOR'],
      [[other.trustRoot], 'UNTRUSTED_ROOT'],
      [[sgx, other.trustRoot], 'UNTRUSTED_ROOT'],
      [[platform.trustRoot, { ...sgx, spki }], 'AMBIGUOUS_ROOT'],
      [[platform.trustRoot, { ...platform.trustRoot, kind: 'intel' }], 'AMBIGUOUS_ROOT'],
      [[other.trustRoot, platform.trustRoot, sgx], 'none'],
    ]
    for (const [roots, code] of refusals) expect(codeOf(() => judge({ roots }))).toBe(code)
  })

  it('does not pass for hardware by its vendor id', () => {
    const evidence = platform.quote(enclave)
    const intel = Buffer.from('939a7233f79c4ca9940a0db3957f0607', 'hex')
    evidence.set(intel, 12)
    const sgx = { kind: 'intel', spki: other.trustRoot.spki, qeVendorId: intel } as const
    const roots = [sgx, platform.trustRoot]
    expect(codeOf(() => judge({ evidence, roots }))).toBe('UNTRUSTED_ROOT')
    // Even where its root is pinned for that vendor, the header is signed.
    expect(
      codeOf(() => judge({ evidence, roots: [{ ...platform.trustRoot, qeVendorId: intel }] })),
    ).toBe('QUOTE_SIGNATURE')
  })

  it.each([
    ['mrEnclave', { mrEnclave: new Uint8Array(31) }],
    ['mrSigner', { mrSigner: new Uint8Array(33) }],
    ['reportData', { reportData: new Uint8Array(32) }],
    ['isvProdId', { isvProdId: 65536 }],
    ['isvSvn', { isvSvn: -1 }],
  ])('is not made of a %s of another size', (_, change) => {
    expect(codeOf(() => platform.quote({ ...enclave, ...change }))).toBe('LENGTH')
  })
})

describe('conditions of a simulated platform', () => {
  it.each(PUBLISHED_TCB_STATUSES)('TCB status %s, with its advisories', tcbStatus => {
    const tcbDate = new Date('2025-08-13T00:00:00Z')
    const claims = underConditions({
      tcbStatus,
      advisoryIds: ['INTEL-SA-00615', 'INTEL-SA-00334'],
      tcbDate,
      tcbEvaluationDataNumber: 19,
    })
    expect(claims.tcbStatus).toBe(tcbStatus)
    expect(claims.platformTcbStatus).toBe(tcbStatus)
    expect(claims.advisoryIds).toEqual(['INTEL-SA-00334', 'INTEL-SA-00615'])
    expect(claims.tcbDate).toEqual(tcbDate)
    expect(claims.tcbEvaluationDataNumber).toBe(19)
  })

  it.each([
    ['UpToDate', 'OutOfDate', 'OutOfDate'],
    ['SWHardeningNeeded', 'OutOfDate', 'OutOfDate'],
    ['ConfigurationNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['ConfigurationAndSWHardeningNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['OutOfDate', 'Revoked', 'Revoked'],
    ['SWHardeningNeeded', 'UpToDate', 'SWHardeningNeeded'],
  ] as const)('platform %s with quoting enclave %s is %s', (tcbStatus, qeTcbStatus, both) => {
    const claims = underConditions({ tcbStatus, qeTcbStatus })
    expect([claims.platformTcbStatus, claims.qeTcbStatus]).toEqual([tcbStatus, qeTcbStatus])
    expect(claims.tcbStatus).toBe(both)
  })

  it.each<[conditions: Partial<SimConditions>, code: string]>([
    [{ tcbStatus: 'NotSupported' }, 'TCB_NOT_SUPPORTED'],
    [{ qeTcbStatus: 'NotSupported' }, 'TCB_NOT_SUPPORTED'],
    [{ revoked: ['pck'] }, 'REVOKED'],
    [{ revoked: ['platformCa'] }, 'REVOKED'],
    [{ revoked: ['tcbSigning'] }, 'REVOKED'],
    [{ revoked: ['pck', 'platformCa', 'tcbSigning'] }, 'REVOKED'],
    [{ expired: ['tcbInfo'] }, 'EXPIRED'],
    [{ expired: ['qeIdentity'] }, 'EXPIRED'],
    [{ expired: ['rootCaCrl'] }, 'CRL_EXPIRED'],
    [{ expired: ['pckCrl'] }, 'CRL_EXPIRED'],
    [{ wrongQe: true }, 'QE_IDENTITY'],
  ])('%j is refused', (conditions, code) => {
    expect(codeOf(() => underConditions(conditions))).toBe(code)
    // And so when the platform is made that way.
    const made = createSimPlatform({ createdAt: AT, ...conditions })
    expect(codeOf(() => judge({ of: made }))).toBe(code)
  })

  it('bounds everything in time', () => {
    const after = (ms: number) => codeOf(() => judge({ at: new Date(AT.getTime() + ms) }))
    expect(after(0)).toBe('none')
    expect(after(29 * DAY)).toBe('none')
    expect(after(30 * DAY)).toBe('CRL_EXPIRED')
    expect(after(-1000)).toBe('NOT_YET_VALID')
    expect(codeOf(() => judge({ at: new Date(Number.NaN) }))).toBe('NOT_YET_VALID')
    const later = new Date(AT.getTime() + 400 * DAY)
    const collateral = platform.collateral(later)
    expect(codeOf(() => judge({ collateral, at: later }))).toBe('none')
    const short = createSimPlatform({ createdAt: AT, validForDays: 1 })
    const at = new Date(AT.getTime() + 2 * DAY)
    expect(codeOf(() => judge({ of: short, at }))).toBe('EXPIRED')
  })
})

describe('collateral of another simulated platform', () => {
  // Both roots are pinned, and share vendor id, names, FMSPC and PCE id.
  const roots = [other.trustRoot, platform.trustRoot]
  const foreign = other.collateral(AT)

  it.each<[change: (keyof Collateral)[], code: string]>([
    [['pckCrl'], 'CRL_SIGNATURE'],
    [['rootCaCrl'], 'CRL_SIGNATURE'],
    [['pckCrlIssuerChain'], 'UNTRUSTED_ROOT'],
    [['tcbInfoSignature'], 'SIGNATURE'],
    [['qeIdentity', 'qeIdentitySignature'], 'SIGNATURE'],
    [['tcbInfo', 'tcbInfoSignature', 'tcbInfoIssuerChain'], 'UNTRUSTED_ROOT'],
    [['qeIdentity', 'qeIdentitySignature', 'qeIdentityIssuerChain'], 'UNTRUSTED_ROOT'],
  ])('%j is refused', (names, code) => {
    const collateral = Object.fromEntries(names.map(name => [name, foreign[name]]))
    expect(codeOf(() => judge({ collateral, roots }))).toBe(code)
  })

  it('is refused as a whole', () => {
    expect(codeOf(() => judge({ collateral: foreign, roots }))).toBe('CRL_SIGNATURE')
    expect(codeOf(() => judge({ roots }))).toBe('none')
    expect(codeOf(() => judge({ of: other, roots }))).toBe('none')
  })

  it('is refused when its TCB info is under the right chain but signed by another role', () => {
    const { pckCrlIssuerChain } = platform.collateral(AT)
    expect(codeOf(() => judge({ collateral: { tcbInfoIssuerChain: pckCrlIssuerChain } }))).toBe(
      'SIGNER',
    )
  })
})

describe('hostile changes', () => {
  it('of the caller’s own buffer after verification change no claim', () => {
    const evidence = Buffer.concat([platform.quote(enclave), Buffer.alloc(4096)])
    const claims = judge({ evidence })
    const before = structuredClone(claims)
    evidence.fill(0x41)
    expect(claims).toEqual(before)
  })

  const evidence = platform.quote(enclave)
  const collateral = platform.collateral(AT)

  it('a changed bit of the quote before its certificates is refused', () => {
    const signed = 48 + 384 + 4 + 64 + 64 + 384 + 64 + 2 + 32 + 2 + 4
    expect(String.fromCharCode(...evidence.subarray(signed, signed + 5))).toBe('-----')
    const options = { collateral, roots: [platform.trustRoot], at: AT }
    const warm = { ...options, collateral: verifyCollateral(options) }
    const verify = (changed: Uint8Array) => verifyEvidence({ ...warm, evidence: changed })
    expect(acceptedFlips(evidence, every(signed * 8, 13), verify)).toEqual([])
  })

  it.each(['tcbInfo', 'qeIdentity'] as const)('a changed bit of %s is refused', name => {
    const bytes = new TextEncoder().encode(collateral[name])
    const verify = (changed: Uint8Array) => {
      const text = Buffer.from(changed).toString('latin1')
      return judge({ evidence, collateral: { ...collateral, [name]: text } })
    }
    expect(acceptedFlips(bytes, every(bytes.length * 8, 17), verify)).toEqual([])
  })

  it.each(['rootCaCrl', 'pckCrl', 'tcbInfoSignature', 'qeIdentitySignature'] as const)(
    'a changed bit of %s is not accepted',
    name => {
      const verify = (changed: Uint8Array) =>
        judge({ evidence, collateral: { ...collateral, [name]: changed } })
      const bits = every(collateral[name].length * 8, 5)
      expect(acceptedFlips(collateral[name], bits, verify)).toEqual([])
    },
  )

  it('any bytes for a document give a coded error', () => {
    const names = ['rootCaCrl', 'pckCrl', 'tcbInfoSignature', 'qeIdentitySignature'] as const
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.uint8Array({ maxLength: 100 }), (name, bytes) => {
        const changed = { ...collateral, [name]: bytes }
        expect(codeOf(() => judge({ evidence, collateral: changed }))).not.toBe('none')
      }),
    )
  })
})

describe('certificates of a simulated platform', () => {
  const [leaf, ca, root] = certificatesInQuote(parseQuote(platform.quote(enclave)))
  if (leaf === undefined || ca === undefined || root === undefined) throw new Error('a chain')

  it('have the SGX extension, and it is encoded as it is read', () => {
    const certificate = parseCertificate(leaf)
    const extension = certificate.extensions.find(({ oid }) => oid === '1.2.840.113741.1.13.1')
    expect(encodePckExtension(parsePckExtension(certificate))).toEqual(extension?.value)
  })

  it('name no vendor', () => {
    for (const der of [leaf, ca, root]) {
      expect(parseCertificate(der).subject.commonName).toMatch(/^Cloister Simulated SGX /)
    }
  })

  it('verify with OpenSSL, and so do the revocation lists', () => {
    const folder = mkdtempSync(join(tmpdir(), 'cloister-sim-'))
    const openssl = (...args: string[]): string =>
      execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
    const write = (conditions: Partial<SimConditions>): void => {
      const { rootCaCrl, pckCrl, tcbInfoIssuerChain } = withSimConditions(
        platform,
        conditions,
      ).collateral(AT)
      writeFileSync(join(folder, 'signer.pem'), tcbInfoIssuerChain)
      for (const [name, crl] of Object.entries({ rootCaCrl, pckCrl })) {
        writeFileSync(join(folder, `${name}.der`), crl)
        openssl('crl', '-inform', 'DER', '-in', `${name}.der`, '-out', `${name}.pem`)
      }
    }
    const verify = (file: string): string =>
      openssl(
        ...['verify', '-x509_strict', '-check_ss_sig', '-crl_check_all'],
        ...['-attime', String(Math.ceil(AT.getTime() / 1000))],
        ...['-CAfile', 'root.pem', '-CRLfile', 'rootCaCrl.pem', '-CRLfile', 'pckCrl.pem'],
        ...['-untrusted', 'ca.pem', file],
      )
    try {
      writeFileSync(join(folder, 'root.pem'), encodePemCertificates(root))
      writeFileSync(join(folder, 'ca.pem'), encodePemCertificates(ca))
      writeFileSync(join(folder, 'leaf.pem'), encodePemCertificates(leaf))
      write({})
      expect(verify('leaf.pem')).toBe('leaf.pem: OK\n')
      expect(verify('signer.pem')).toBe('signer.pem: OK\n')
      write({ revoked: ['pck', 'tcbSigning'] })
      expect(() => verify('leaf.pem')).toThrow(/certificate revoked/)
      expect(() => verify('signer.pem')).toThrow(/certificate revoked/)
      write({ revoked: ['platformCa'] })
      expect(() => verify('leaf.pem')).toThrow(/certificate revoked/)
      write({ expired: ['pckCrl'] })
      expect(() => verify('leaf.pem')).toThrow(/CRL has expired/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('are named by serial in the revocation lists', () => {
    const { pckCrl } = withSimConditions(platform, { revoked: ['pck'] }).collateral(AT)
    expect([...parseCrl(pckCrl).revoked.keys()]).toEqual([parseCertificate(leaf).serial])
  })
})

describe('a stored platform', () => {
  const conditions: Partial<SimConditions> = {
    tcbStatus: 'OutOfDate',
    qeTcbStatus: 'NotSupported',
    advisoryIds: ['INTEL-SA-00001'],
    tcbDate: new Date('2024-01-02T03:04:05Z'),
    tcbEvaluationDataNumber: 17,
    revoked: ['pck'],
    expired: ['tcbInfo'],
    wrongQe: true,
  }

  it('comes back with its keys and conditions', () => {
    const again = importSimPlatform(exportSimPlatform(platform))
    expect(again.trustRoot).toEqual(platform.trustRoot)
    expect(codeOf(() => judge({ evidence: again.quote(enclave) }))).toBe('none')
    expect(codeOf(() => judge({ collateral: again.collateral(AT) }))).toBe('none')
    const stored = exportSimPlatform(withSimConditions(platform, conditions))
    expect(importSimPlatform(stored).conditions).toEqual(conditions)
    expect(exportSimPlatform(importSimPlatform(stored))).toBe(stored)
  })

  it('does not show its keys', () => {
    expect(JSON.stringify(platform)).not.toMatch(/MIG|private/i)
  })

  it('is refused when it is not as it was written', () => {
    const stored = exportSimPlatform(platform)
    const value = JSON.parse(stored)
    const change = (changed: object) => JSON.stringify({ ...value, ...changed })
    const condition = (changed: object) =>
      change({ conditions: { ...value.conditions, ...changed } })
    const theirs = JSON.parse(exportSimPlatform(other))
    const refusals: [json: string, code: string][] = [
      ['', 'FORMAT'],
      ['null', 'FORMAT'],
      ['{}', 'FORMAT'],
      [`${stored} `, 'FORMAT'],
      [change({ format: 'other' }), 'FORMAT'],
      [change({ version: 2 }), 'FORMAT'],
      [change({ more: 1 }), 'FORMAT'],
      [change({ keys: { ...value.keys, root: 'AAAA' } }), 'FORMAT'],
      [change({ certificates: { ...value.certificates, pck: 'AAAA' } }), 'FORMAT'],
      [change({ certificates: { ...value.certificates, pck: value.certificates.root } }), 'FORMAT'],
      [condition({ tcbStatus: 'Fine' }), 'FORMAT'],
      [condition({ wrongQe: 'no' }), 'FORMAT'],
      [condition({ revoked: ['root'] }), 'FORMAT'],
      [condition({ tcbDate: '2026-03-01' }), 'FORMAT'],
      [change({ keys: { ...value.keys, root: theirs.keys.root } }), 'KEY'],
      [change({ keys: { ...value.keys, pck: theirs.keys.pck } }), 'KEY'],
      [change({ certificates: { ...value.certificates, pck: theirs.certificates.pck } }), 'KEY'],
    ]
    for (const [json, code] of refusals) {
      expect(() => importSimPlatform(json), json.slice(0, 40)).toThrow(SimPlatformError)
      expect(codeOf(() => importSimPlatform(json))).toBe(code)
    }
  })
})
