import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Collateral } from './collateral/collateral.ts'
import { COLLATERAL_ERROR_CODES } from './collateral/errors.ts'
import { openSignedJson } from './collateral/signed-json.ts'
import { TCB_STATUSES } from './collateral/tcb-status.ts'
import {
  AT,
  certificates,
  chainWith,
  crlBy,
  ENCLAVE,
  endorsing,
  inOrder,
  other,
  platform,
  quoting,
  REFUSALS,
  type Shown,
  STATUSES,
  show,
  snp,
  tcbInfoSaying,
  tdInOrder,
} from './corpus.test.support.ts'
import { CodedError, QUOTE_FORMAT_ERROR_CODES } from './errors.ts'
import { parseQuote } from './quote/quote.ts'
import type { SnpCollateral } from './sev-snp/collateral.ts'
import { vendorSignatures } from './signatures.ts'
import { withSimConditions } from './sim/platform.ts'
import { SIM_TDX } from './sim/td.ts'
import { TD_ATTRIBUTES, TD_RESERVED } from './tdx/td-report.ts'
import { EVIDENCE_ERROR_CODES } from './verify/errors.ts'
import { verifyCollateral } from './verify/verified-collateral.ts'
import { verifyEvidence } from './verify-evidence.ts'
import { parseCertificate } from './x509/certificate.ts'
import { CHAIN_ERROR_CODES } from './x509/chain.ts'
import { DER_ERROR_CODES } from './x509/der.ts'
import { encodePemCertificates } from './x509/pem.ts'

describe('each status has evidence', () => {
  it.each(STATUSES)('%s: %s', (status, _what, show) => {
    const claims = verifyEvidence(show())
    expect(claims.tcbStatus).toBe(status)
    expect(claims.tee).toBe('sim')
  })

  it('all of them', () => {
    const tried = new Set(STATUSES.map(([status]) => status))
    expect(TCB_STATUSES.filter(status => !tried.has(status))).toEqual([])
  })

  it.each([3, 4, 5] as const)('quotes of version %i', version => {
    const shown = { ...inOrder(), evidence: platform.quote(ENCLAVE, { version }) }
    expect(verifyEvidence(shown)).toMatchObject({ quoteVersion: version, kind: 'enclave' })
  })

  it.each([
    ['1.0', 4],
    ['1.0', 5],
    ['1.5', 5],
  ] as const)('TD reports %s in quotes of version %i', (report, version) => {
    const evidence = platform.quoteTd({ version: report }, { version })
    const claims = verifyEvidence({ ...tdInOrder(), evidence })
    expect(claims).toMatchObject({ quoteVersion: version, tdReport: { version: report } })
  })

  it.each([1, 2, 3, 4] as const)(
    'certification data of type %i, with the chain given',
    certification => {
      const shown = { ...inOrder(), evidence: platform.quote(ENCLAVE, { certification }) }
      expect(codeOf(shown)).toBe('EvidenceError CERTIFICATION_DATA')
      const { pck, platformCa, root } = certificates
      const pckCertificateChain = encodePemCertificates(pck, platformCa, root)
      const given = { ...shown, collateral: { ...shown.collateral, pckCertificateChain } }
      expect(codeOf(given)).toBe('none')
    },
  )
})

describe('shapes that few platforms have', () => {
  it('TCB info of version 2, which knows no advisories', () => {
    const on = withSimConditions(platform, {
      tcbStatus: 'OutOfDate',
      advisoryIds: ['INTEL-SA-00001'],
    })
    const told = (version: 2 | 3) =>
      verifyEvidence({ ...inOrder(on), collateral: on.collateral(AT, { version }) })
    expect([told(2).tcbStatus, told(2).advisoryIds]).toEqual(['OutOfDate', []])
    expect([told(3).tcbStatus, told(3).advisoryIds]).toEqual(['OutOfDate', ['INTEL-SA-00001']])
  })

  it('a TDX module of major version 0, whose version the platform’s levels count', () => {
    const module = (svn: number) =>
      verifyEvidence(
        tdInOrder({ teeTcbSvn: Uint8Array.of(svn, 0, SIM_TDX.loaderSvn, ...new Uint8Array(13)) }),
      )
    expect(module(SIM_TDX.moduleSvn).tcbStatus).toBe('UpToDate')
    expect(module(SIM_TDX.moduleSvn - 1).tcbStatus).toBe('OutOfDate')
    expect(module(SIM_TDX.moduleSvn)).toMatchObject({ kind: 'td', tdxModule: {} })
  })

  it('attributes that no module published so far has verify, as by Intel’s library', () => {
    const td = { tdAttributes: TD_ATTRIBUTES.septVeDisable | TD_RESERVED, xfam: 0n }
    expect(verifyEvidence(tdInOrder(td))).toMatchObject({ tcbStatus: 'UpToDate', tdReport: td })
  })

  it('debug, a service TD and RTMRs verify, and are told: policy judges them', () => {
    const mrServiceTd = new Uint8Array(48).fill(7)
    const rtmr = new Uint8Array(48).fill(9)
    const td = { tdAttributes: 1n, mrServiceTd, rtmrs: [rtmr, rtmr, rtmr, rtmr] as const }
    expect(verifyEvidence(tdInOrder(td))).toMatchObject({ tcbStatus: 'UpToDate', tdReport: td })
    const evidence = platform.quote({ ...ENCLAVE, debug: true })
    expect(verifyEvidence({ ...inOrder(), evidence }).tcbStatus).toBe('UpToDate')
  })
})

const codeOf = (shown: Shown<Collateral | SnpCollateral>): string =>
  refusalOf(() => verifyEvidence(shown))

/** Whether it is read; what is refused without a code of ours is thrown on. */
function isRead(read: () => unknown): boolean {
  try {
    read()
  } catch (error) {
    if (error instanceof CodedError) return false
    throw error
  }
  return true
}

function refusalOf(verify: () => unknown): string {
  try {
    verify()
  } catch (error) {
    if (error instanceof CodedError) return `${error.name} ${String(error.code)}`
    throw error
  }
  return 'none'
}

describe('each reason for refusal has evidence', () => {
  it('and evidence in order has none', () => {
    expect([codeOf(inOrder()), codeOf(tdInOrder())]).toEqual(['none', 'none'])
    expect(codeOf(snp({}))).toBe('none')
    expect(codeOf(quoting({}))).toBe('none')
    expect(codeOf(quoting(chainWith({})))).toBe('none')
    expect(codeOf(show({ collateral: tcbInfoSaying(text => text) }))).toBe('none')
    expect(codeOf(endorsing({ pckCrl: crlBy('platformCa') }))).toBe('none')
  })

  it.each(REFUSALS)('%s: %s', (code, _what, given) => {
    expect(codeOf(given)).toBe(code)
  })

  it('all of them', () => {
    const tried = new Set(REFUSALS.map(([code]) => code))
    const codes = [
      ...QUOTE_FORMAT_ERROR_CODES.map(code => `QuoteFormatError ${code}`),
      ...DER_ERROR_CODES.map(code => `DerError ${code}`),
      ...CHAIN_ERROR_CODES.map(code => `ChainError ${code}`),
      ...COLLATERAL_ERROR_CODES.map(code => `CollateralError ${code}`),
      ...EVIDENCE_ERROR_CODES.map(code => `EvidenceError ${code}`),
    ]
    expect(codes.filter(code => !tried.has(code))).toEqual([])
  })
})

describe('collateral that says of itself that it was verified', () => {
  it('is read like any other, or is none', () => {
    const verified = verifyCollateral(inOrder())
    const forged = { ...verified, documents: {}, known: {}, collateral: other.collateral(AT) }
    const show = (collateral: object) =>
      refusalOf(() => verifyEvidence({ ...inOrder(), collateral: collateral as Collateral }))
    expect(show(verified)).toBe('none')
    expect(show({ ...verified })).toBe('CollateralError OTHER_TEE')
    expect(show(forged)).toBe('CollateralError OTHER_TEE')
    expect(show({ ...other.collateral(AT), ...forged })).toBe('ChainError CRL_SIGNATURE')
    expect(show({ ...platform.collateral(AT), ...forged })).toBe('none')
  })
})

describe('whatever is cut or lies about its length', () => {
  it('is refused at every offset of a quote of each format', () => {
    const quotes = [
      platform.quote(ENCLAVE),
      platform.quote(ENCLAVE, { version: 5 }),
      platform.quoteTd({ version: '1.0' }),
      platform.quoteTd({}),
    ]
    for (const quote of quotes) {
      for (let length = 0; length < quote.length; length++) {
        if (isRead(() => parseQuote(quote.subarray(0, length)))) expect.unreachable(`${length}`)
      }
    }
  })

  it('is refused at every offset of collateral', () => {
    const shown = inOrder()
    const { collateral } = shown
    const having = (cut: Partial<Collateral>) =>
      codeOf({ ...shown, collateral: { ...collateral, ...cut } })
    for (const list of ['pckCrl', 'rootCaCrl'] as const) {
      for (let length = 0; length < collateral[list].length; length++) {
        const cut = collateral[list].slice(0, length)
        expect(having({ [list]: cut }), `${list} ${length}`).toMatch(/^DerError /)
      }
    }
    for (let length = 0; length < collateral.tcbInfo.length; length += 61) {
      const tcbInfo = collateral.tcbInfo.slice(0, length)
      expect(having({ tcbInfo }), `${length}`).toBe('CollateralError SIGNATURE')
    }
  })

  it('is refused at every offset of TCB info and identity, were they signed', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))
    const key = vendorSignatures.keyFromSpki(spki, 'ES256')
    const documents = [platform.collateral(AT), platform.tdxCollateral(AT)].flatMap(
      ({ tcbInfo, qeIdentity }) => [tcbInfo, qeIdentity],
    )
    for (const text of documents) {
      for (let length = 0; length < text.length; length++) {
        const cut = text.slice(0, length)
        const by = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
        const signature = new Uint8Array(sign('sha256', Buffer.from(cut), by))
        expect(() => openSignedJson('a document', cut, signature, key)).toThrow(
          expect.objectContaining({ code: 'FORMAT' }),
        )
      }
    }
  })

  it('is refused at every offset of a certificate', () => {
    for (const [name, whole] of Object.entries(certificates)) {
      for (let length = 0; length < whole.length; length++) {
        if (isRead(() => parseCertificate(whole.slice(0, length)))) {
          expect.unreachable(`${name} ${length}`)
        }
      }
    }
  })

  it('is refused wherever one part of the collateral is another platform’s', () => {
    const roots = [platform.trustRoot, other.trustRoot]
    for (const [ours, theirs] of [
      [inOrder(), other.collateral(AT)],
      [tdInOrder(), other.tdxCollateral(AT)],
    ] as const) {
      for (const part of Object.keys(theirs) as (keyof Collateral)[]) {
        if (part === 'qeIdentity') continue // says the same of every simulated platform
        const collateral = { ...ours.collateral, [part]: theirs[part] }
        // The same text under another signature still is what the signer said.
        const same = ours.collateral[part] === theirs[part]
        expect([part, codeOf({ ...ours, collateral, roots }) === 'none']).toEqual([part, same])
      }
      const { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain } = theirs
      const document = { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain }
      const collateral = { ...ours.collateral, ...document }
      expect(codeOf({ ...ours, collateral, roots })).toBe('ChainError UNTRUSTED_ROOT')
    }
  })

  it('takes no memory before it is refused', () => {
    // A process of its own, whose peak is that of these calls alone.
    const script = `
      const { parseCertificate, parseCrl, parseQuote, parseSnpReport, splitPemCertificates,
        verifyEvidence } = await import(process.argv[1])
      const zeros = new Uint8Array(64 << 20)
      const verify = evidence => verifyEvidence({ evidence, collateral: { tcbInfo: '' }, roots: [], at: new Date() })
      const before = process.resourceUsage().maxRSS
      const codes = [verify, parseQuote, parseSnpReport, parseCertificate, parseCrl,
        splitPemCertificates].map(read => {
          try { read(zeros) } catch (error) { return error.name + ' ' + error.code }
          return 'none'
        })
      const grownMiB = (process.resourceUsage().maxRSS - before) / 1024
      console.log(JSON.stringify({ codes, grownMiB }))`
    const index = new URL('index.js', import.meta.url).href
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', script, index])
    const { codes, grownMiB } = JSON.parse(said.toString())
    expect(codes).toEqual([
      ...['QuoteFormatError VERSION', 'QuoteFormatError VERSION', 'QuoteFormatError LENGTH'],
      ...['DerError LIMIT', 'DerError LIMIT', 'DerError LIMIT'],
    ])
    expect(grownMiB).toBeLessThan(16)
    expect(codeOf(endorsing({ rootCaCrl: new Uint8Array(64 << 20) }))).toBe('DerError LIMIT')
  })

  it('is refused as a key that makes signatures but is no P-256 key', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    expect(codeOf(quoting(chainWith({ key: privateKey })))).toBe(
      'EvidenceError QE_REPORT_SIGNATURE',
    )
  })
})
