import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { CodedError } from './errors.ts'
import { type Collateral, type TrustRoot, verifyEvidence } from './verify-evidence.ts'
import { parseCertificate } from './x509/certificate.ts'

const vectors =
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../shared/vectors', import.meta.url))
const folder = `${vectors}/attestation`
const present = existsSync(`${folder}/sgx`)

interface Expected {
  readonly time: number
  readonly verdict: string
  readonly status: string
  readonly sgxTcbStatus: string
  readonly qeTcbStatus: string
  readonly advisoryIds: readonly string[]
  readonly tcbDate: string
  readonly earliestExpiration: string
  readonly quote: { readonly certType: number }
  readonly alsoAt?: readonly { readonly time: number; readonly verdict: string }[]
}

function readCase(name: string) {
  const at = `${folder}/sgx/${name}`
  const expected: Expected = JSON.parse(readFileSync(`${at}/expected.json`, 'utf8'))
  const raw: Record<string, string> = existsSync(`${at}/collateral.json`)
    ? JSON.parse(readFileSync(`${at}/collateral.json`, 'utf8'))
    : {}
  const hex = (name: string) => new Uint8Array(Buffer.from(raw[name] ?? '', 'hex'))
  const collateral: Collateral = {
    pckCrlIssuerChain: raw['pck_crl_issuer_chain'] ?? '',
    rootCaCrl: hex('root_ca_crl'),
    pckCrl: hex('pck_crl'),
    tcbInfoIssuerChain: raw['tcb_info_issuer_chain'] ?? '',
    tcbInfo: raw['tcb_info'] ?? '',
    tcbInfoSignature: hex('tcb_info_signature'),
    qeIdentityIssuerChain: raw['qe_identity_issuer_chain'] ?? '',
    qeIdentity: raw['qe_identity'] ?? '',
    qeIdentitySignature: hex('qe_identity_signature'),
  }
  return { name, expected, collateral, evidence: new Uint8Array(readFileSync(`${at}/quote.bin`)) }
}

const cases = present
  ? readdirSync(`${folder}/sgx`)
      .map(readCase)
      .filter(({ expected }) => expected.verdict === 'ok' && expected.quote.certType === 5)
  : []

function intelRoot(): TrustRoot {
  const root = parseCertificate(
    new Uint8Array(readFileSync(`${folder}/roots/intel_sgx_root_ca.der`)),
  )
  return {
    tee: 'sgx',
    spki: root.spki,
    qeVendorId: Buffer.from('939a7233f79c4ca9940a0db3957f0607', 'hex'),
  }
}

const skipped = present ? '' : ' (skipped: CLOISTER_VECTORS has no attestation data)'

describe.skipIf(!present)(`verifyEvidence on quotes of real hardware${skipped}`, () => {
  it('has cases to judge', () => {
    expect(cases.length).toBeGreaterThanOrEqual(8)
  })

  it.each(cases)('$name: status, advisories and dates', ({ expected, evidence, collateral }) => {
    const at = new Date(expected.time * 1000)
    const claims = verifyEvidence({ evidence, collateral, roots: [intelRoot()], at })
    expect(claims.tee).toBe('sgx')
    expect(claims.tcbStatus).toBe(expected.status)
    expect(claims.platformTcbStatus).toBe(expected.sgxTcbStatus)
    expect(claims.qeTcbStatus).toBe(expected.qeTcbStatus)
    expect(claims.advisoryIds).toEqual(expected.advisoryIds)
    expect(claims.tcbDate).toEqual(new Date(expected.tcbDate))
    expect(claims.earliestExpiration).toEqual(new Date(expected.earliestExpiration))
  })

  it.each(cases)(
    '$name: refused before and after validity',
    ({ expected, evidence, collateral }) => {
      expect(expected.alsoAt?.length).toBeGreaterThan(0)
      for (const { time, verdict } of expected.alsoAt ?? []) {
        expect(verdict).toBe('error')
        const at = new Date(time * 1000)
        expect(() => verifyEvidence({ evidence, collateral, roots: [intelRoot()], at })).toThrow(
          CodedError,
        )
      }
    },
  )

  it.each(cases)('$name: no bit of the quote may change', ({ expected, evidence, collateral }) => {
    const at = new Date(expected.time * 1000)
    // Header, report and signatures, but not the PEM text, whose line ends carry nothing.
    const signed = 48 + 384 + 4 + 64 + 64 + 384 + 64
    for (let index = 0; index < signed; index += 7) {
      const changed = evidence.slice()
      changed[index] = (changed[index] ?? 0) ^ (1 << (index % 8))
      const judge = () =>
        verifyEvidence({ evidence: changed, collateral, roots: [intelRoot()], at })
      expect(judge, `byte ${index}`).toThrow(CodedError)
    }
  })

  it.each(cases)('$name: a root that is not pinned is refused', ({ expected, ...input }) => {
    const at = new Date(expected.time * 1000)
    const { spki } = intelRoot()
    const other = spki.slice()
    other[other.length - 1] = (other.at(-1) ?? 0) ^ 1
    expect(() =>
      verifyEvidence({ ...input, roots: [{ ...intelRoot(), spki: other }], at }),
    ).toThrow(expect.objectContaining({ code: 'UNTRUSTED_ROOT' }))
    expect(() => verifyEvidence({ ...input, roots: [], at })).toThrow(
      expect.objectContaining({ code: 'QE_VENDOR' }),
    )
  })

  it.each(cases)('$name: collateral that lacks, or is of another, is refused', input => {
    const { expected, evidence, collateral } = input
    const at = new Date(expected.time * 1000)
    const judge = (changed: Partial<Collateral>) => () =>
      verifyEvidence({
        evidence,
        collateral: { ...collateral, ...changed },
        roots: [intelRoot()],
        at,
      })
    const refusals: [changed: Partial<Collateral>, code: string][] = [
      [{ pckCrl: collateral.rootCaCrl }, 'CRL_ISSUER'],
      [{ rootCaCrl: collateral.pckCrl }, 'CRL_ISSUER'],
      [{ rootCaCrl: new Uint8Array() }, 'TRUNCATED'],
      [{ tcbInfo: `${collateral.tcbInfo} ` }, 'SIGNATURE'],
      [{ tcbInfo: collateral.tcbInfo.replace('"OutOfDate"', '"UpToDate"') }, 'SIGNATURE'],
      [{ tcbInfoSignature: collateral.qeIdentitySignature }, 'SIGNATURE'],
      [{ tcbInfoIssuerChain: collateral.pckCrlIssuerChain }, 'SIGNER'],
      [
        { tcbInfo: collateral.qeIdentity, tcbInfoSignature: collateral.qeIdentitySignature },
        'VERSION',
      ],
    ]
    for (const [changed, code] of refusals) {
      expect(judge(changed)).toThrow(expect.objectContaining({ code }))
    }
  })

  it('refuses TCB info of another platform', () => {
    const [one, other] = ['icelake-sw-hardening-2023', 'coffee-lake-out-of-date-tcbinfo-v2'].map(
      readCase,
    )
    if (one === undefined || other === undefined) throw new Error('the cases are there')
    const { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain } = other.collateral
    const at = new Date(one.expected.time * 1000)
    expect(() =>
      verifyEvidence({
        evidence: one.evidence,
        collateral: { ...one.collateral, tcbInfo, tcbInfoSignature, tcbInfoIssuerChain },
        roots: [intelRoot()],
        at,
      }),
    ).toThrow(expect.objectContaining({ code: 'FMSPC' }))
  })
})
