import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { CodedError } from '../errors.ts'
import { certificatesInQuote } from '../quote/certificates.ts'
import { parseQuote } from '../quote/quote.ts'
import { issueCertificate } from '../sim/certificate-writer.ts'
import { SIM_NAMES } from '../sim/names.ts'
import { createSimPlatform, withSimConditions } from '../sim/platform.ts'
import { encodePemCertificates, splitPemCertificates } from '../x509/pem.ts'
import {
  verifyPckCertificate,
  verifyPckCrl,
  verifyRootCrl,
  verifySignedDocument,
} from './single-document.ts'

const AT = new Date('2026-03-01T00:00:00Z')
const DAY = 24 * 60 * 60 * 1000
const platform = createSimPlatform({ createdAt: new Date(AT.getTime() - DAY) })
const other = createSimPlatform({ createdAt: new Date(AT.getTime() - DAY) })
const options = { roots: [platform.trustRoot], at: AT }
const collateral = platform.collateral(AT)

const tcbInfo = {
  text: collateral.tcbInfo,
  signature: collateral.tcbInfoSignature,
  chain: collateral.tcbInfoIssuerChain,
  rootCaCrl: collateral.rootCaCrl,
}
const pckCrl = {
  crl: collateral.pckCrl,
  chain: collateral.pckCrlIssuerChain,
  rootCaCrl: collateral.rootCaCrl,
}
const quote = platform.quote({
  ...{ mrEnclave: new Uint8Array(32), mrSigner: new Uint8Array(32) },
  ...{ isvProdId: 0, isvSvn: 0, debug: false, reportData: new Uint8Array(64) },
})
const pck = {
  chain: encodePemCertificates(...certificatesInQuote(parseQuote(quote))),
  pckCrl: collateral.pckCrl,
  rootCaCrl: collateral.rootCaCrl,
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return error.code
    throw error
  }
  return 'none'
}

const P256 = { namedCurve: 'P-256' } as const
const spkiKey = (spki: Uint8Array) =>
  createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })

const flipped = (bytes: Uint8Array) => bytes.map((byte, index) => (index === 40 ? byte ^ 1 : byte))

describe('a single document', () => {
  it('verifies as one of the whole collateral would', () => {
    expect(verifySignedDocument('tcbInfo', tcbInfo, options)).toMatchObject({ id: 'SGX' })
    const { qeIdentity, qeIdentitySignature, qeIdentityIssuerChain } = platform.tdxCollateral(AT)
    const identity = { text: qeIdentity, signature: qeIdentitySignature }
    const given = { ...identity, chain: qeIdentityIssuerChain, rootCaCrl: collateral.rootCaCrl }
    expect(verifySignedDocument('enclaveIdentity', given, options).id).toBe('TD_QE')
    const numbers = { ...platform.evaluationNumbers(AT, 'TDX'), rootCaCrl: collateral.rootCaCrl }
    const read = verifySignedDocument('tcbEvaluationDataNumbers', numbers, options)
    expect(read.numbers.map(one => one.tcbEvaluationDataNumber)).toEqual([1])
    const end = new Date(AT.getTime() + 30 * DAY)
    expect(verifyPckCrl(pckCrl, options)).toEqual({ issued: AT, nextUpdate: end, ca: 'platform' })
    const rootCrl = { crl: collateral.rootCaCrl, chain: collateral.tcbInfoIssuerChain }
    expect(verifyRootCrl(rootCrl, options)).toEqual({ issued: AT, nextUpdate: end })
    expect(verifyPckCertificate(pck, options).ca).toBe('platform')
  })

  it('is known for each of the vendor’s enclaves, and for each TCB of a platform', () => {
    for (const id of ['QE', 'TD_QE', 'QVE', 'QAE'] as const) {
      const given = { ...platform.identity(AT, id), rootCaCrl: collateral.rootCaCrl }
      expect(verifySignedDocument('enclaveIdentity', given, options).id).toBe(id)
    }
    const own = verifyPckCertificate(pck, options).extension
    const older = platform.pckCertificate({ components: Array(16).fill(4), pceSvn: 11 })
    const { extension } = verifyPckCertificate({ ...pck, chain: older }, options)
    expect(extension).toEqual({
      ...own,
      ...{ tcbComponents: Array(16).fill(4), cpusvn: new Uint8Array(16).fill(4), pcesvn: 11 },
    })
    const another = platform.pckCertificate({ ppid: new Uint8Array(16) })
    const other = verifyPckCertificate({ ...pck, chain: another }, options)
    expect(other.extension.ppid).not.toEqual(own.ppid)
  })

  it('of the root needs the root’s certificate alone', () => {
    const [root = new Uint8Array()] = splitPemCertificates(tcbInfo.chain).slice(-1)
    const alone = encodePemCertificates(root)
    const given = { crl: collateral.rootCaCrl, chain: alone }
    expect(verifyRootCrl(given, options).issued).toEqual(AT)
    const expired = { ...options, at: new Date(AT.getTime() + 5000 * DAY) }
    expect(codeOf(() => verifyRootCrl(given, expired))).toBe('EXPIRED')
    // The pinned key in a certificate that the root never signed.
    const forged = encodePemCertificates(
      issueCertificate({
        issuer: { commonName: SIM_NAMES.root, key: generateKeyPairSync('ec', P256).privateKey },
        ...{ commonName: SIM_NAMES.root, key: spkiKey(platform.trustRoot.spki) },
        ...{ notBefore: AT, notAfter: new Date(AT.getTime() + DAY), pathLen: 1 },
      }),
    )
    expect(codeOf(() => verifyRootCrl({ ...given, chain: forged }, options))).toBe('SIGNATURE')
  })

  const late = { ...options, at: new Date(AT.getTime() + 31 * DAY) }
  const revoking = (what: 'pck' | 'platformCa' | 'tcbSigning') =>
    withSimConditions(platform, { revoked: [what] }).collateral(AT)
  const text = tcbInfo.text.replace('UpToDate', 'uPToDate')
  const refusals: readonly (readonly [string, () => unknown, string])[] = [
    [
      'changed text',
      () => verifySignedDocument('tcbInfo', { ...tcbInfo, text }, options),
      'SIGNATURE',
    ],
    [
      'a document of another kind',
      () => verifySignedDocument('enclaveIdentity', tcbInfo, options),
      'VERSION',
    ],
    [
      'no pinned root',
      () => verifySignedDocument('tcbInfo', tcbInfo, { ...options, roots: [other.trustRoot] }),
      'UNTRUSTED_ROOT',
    ],
    [
      'a signer that signs certificates',
      () => verifySignedDocument('tcbInfo', { ...tcbInfo, chain: pckCrl.chain }, options),
      'SIGNER',
    ],
    [
      'a revoked signer',
      () =>
        verifySignedDocument(
          'tcbInfo',
          { ...tcbInfo, rootCaCrl: revoking('tcbSigning').rootCaCrl },
          options,
        ),
      'REVOKED',
    ],
    [
      'a root list of another CA',
      () => verifySignedDocument('tcbInfo', { ...tcbInfo, rootCaCrl: collateral.pckCrl }, options),
      'CRL_ISSUER',
    ],
    [
      'a document past its end',
      () => verifySignedDocument('tcbInfo', tcbInfo, late),
      'CRL_EXPIRED',
    ],
    [
      'a changed PCK list',
      () => verifyPckCrl({ ...pckCrl, crl: flipped(pckCrl.crl) }, options),
      'CRL_ISSUER',
    ],
    [
      'a PCK list of the root',
      () => verifyPckCrl({ ...pckCrl, crl: collateral.rootCaCrl }, options),
      'CRL_ISSUER',
    ],
    [
      'a PCK list by a revoked CA',
      () => verifyPckCrl({ ...pckCrl, rootCaCrl: revoking('platformCa').rootCaCrl }, options),
      'REVOKED',
    ],
    ['a PCK list past its end', () => verifyPckCrl(pckCrl, late), 'CRL_EXPIRED'],
    [
      'a root list by another root',
      () => verifyRootCrl({ crl: other.collateral(AT).rootCaCrl, chain: tcbInfo.chain }, options),
      'CRL_SIGNATURE',
    ],
    [
      'a root list with a chain of another',
      () =>
        verifyRootCrl(
          { crl: collateral.rootCaCrl, chain: other.collateral(AT).tcbInfoIssuerChain },
          options,
        ),
      'UNTRUSTED_ROOT',
    ],
    [
      'a revoked PCK certificate',
      () => verifyPckCertificate({ ...pck, pckCrl: revoking('pck').pckCrl }, options),
      'REVOKED',
    ],
    [
      'a PCK certificate that is a signer of documents',
      () => verifyPckCertificate({ ...pck, chain: tcbInfo.chain }, options),
      'PCK',
    ],
  ]
  it.each(refusals)('is refused: %s', (_what, run, code) => {
    expect(codeOf(run)).toBe(code)
  })

  it('serves on for a grace period and no longer', () => {
    const judged = (days: number) => ({ ...late, collateralGraceDays: days })
    expect(codeOf(() => verifySignedDocument('tcbInfo', tcbInfo, judged(1)))).toBe('none')
    expect(codeOf(() => verifyPckCrl(pckCrl, judged(1)))).toBe('none')
    expect(codeOf(() => verifyPckCrl(pckCrl, judged(0.5)))).toBe('CRL_EXPIRED')
    const nowhere = new Date(Number.NaN)
    expect(codeOf(() => verifyPckCrl(pckCrl, { ...options, at: nowhere }))).not.toBe('none')
  })
})
