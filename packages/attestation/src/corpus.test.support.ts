import { createHash, sign } from 'node:crypto'
import type { Collateral } from './collateral/collateral.ts'
import type { TcbStatus } from './collateral/tcb-status.ts'
import { encodeQuote, encodeSignedPart, parseQuote, type QuoteFields } from './quote/quote.ts'
import type { SnpCollateral } from './sev-snp/collateral.ts'
import { encodeSnpTcb } from './sev-snp/tcb.ts'
import { encodeSgxReportBody } from './sgx/report-body.ts'
import { type CertificateFields, issueCertificate, issueCrl } from './sim/certificate-writer.ts'
import type { SimConditions } from './sim/conditions.ts'
import { SIM_NAMES } from './sim/names.ts'
import { encodePckExtension } from './sim/pck-extension.ts'
import { createSimPlatform, type SimPlatform, stateOf, withSimConditions } from './sim/platform.ts'
import { tcbInfoWith } from './sim/signed-anew.test.support.ts'
import { createSimSnpPlatform } from './sim/snp-platform.ts'
import { SIM_TDX, type SimTd, type SimTdxConditions } from './sim/td.ts'
import type { VerifyEvidenceOptions } from './verify-evidence.ts'
import { ECDSA_SHA256, parseCertificate } from './x509/certificate.ts'
import { parseCrl } from './x509/crl.ts'
import { bitString, oid, sequence } from './x509/der-writer.ts'
import { type PckExtension, parsePckExtension, SGX_EXTENSION } from './x509/pck.ts'
import { encodePemCertificates } from './x509/pem.ts'

/*
 * The corpus that a clone has of its own: evidence of simulated platforms, one case for every status
 * and every reason for refusal.
 */
/** The instant that cases are judged at. */
export const AT = new Date('2026-03-01T00:00:00Z')
const DAY = 24 * 60 * 60 * 1000
/** A simulated platform in order. */
export const platform = createSimPlatform({ createdAt: new Date(AT.getTime() - DAY) })
/** Another one. */
export const other = createSimPlatform({ createdAt: new Date(AT.getTime() - DAY) })
const { keys } = stateOf(platform)
/** The platform's certificates, DER. */
export const { certificates } = stateOf(platform)
const milan = createSimSnpPlatform({ createdAt: new Date(AT.getTime() - DAY) })

/** What is quoted. */
export const ENCLAVE = {
  ...{ mrEnclave: new Uint8Array(32).fill(1), mrSigner: new Uint8Array(32).fill(2) },
  ...{ isvProdId: 1, isvSvn: 1, debug: false, reportData: new Uint8Array(64) },
}

/** What a case shows to the verifier. */
export type Shown<Given = Collateral> = VerifyEvidenceOptions<Given>

/** A quote of an enclave, in order. */
export const inOrder = (on: SimPlatform = platform): Shown => ({
  evidence: on.quote(ENCLAVE),
  collateral: on.collateral(AT),
  roots: [on.trustRoot],
  at: AT,
})
/** A quote of a trust domain. */
export const tdInOrder = (td: SimTd = {}, tdx: SimTdxConditions = {}, on = platform): Shown => ({
  ...inOrder(on),
  evidence: on.quoteTd(td),
  collateral: on.tdxCollateral(AT, tdx),
})

/** TEE_TCB_SVN of a module updated under the running TD to the newest published. */
const NEWEST = Uint8Array.of(
  ...[SIM_TDX.moduleSvn + 1, SIM_TDX.moduleMajor, SIM_TDX.loaderSvn],
  ...new Uint8Array(13),
)

const updated: SimTd = { teeTcbSvn2: NEWEST }
const oldModule: SimTdxConditions = { moduleTcbStatus: 'OutOfDate' }
const on = (conditions: Partial<SimConditions>) => withSimConditions(platform, conditions)
/** Evidence of every status. */
export const STATUSES: readonly (readonly [TcbStatus, string, () => Shown])[] = [
  ...(
    [
      ...['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded', 'Revoked', 'OutOfDate'],
      ...['ConfigurationAndSWHardeningNeeded', 'OutOfDateConfigurationNeeded'],
    ] as readonly Exclude<TcbStatus, `TDRelaunch${string}`>[]
  ).flatMap(tcbStatus => [
    [tcbStatus, 'enclave', () => inOrder(on({ tcbStatus }))] as const,
    [tcbStatus, 'trust domain', () => tdInOrder({}, {}, on({ tcbStatus }))] as const,
  ]),
  ['OutOfDate', 'quoting enclave', () => inOrder(on({ qeTcbStatus: 'OutOfDate' }))],
  ['Revoked', 'quoting enclave', () => inOrder(on({ qeTcbStatus: 'Revoked' }))],
  [
    'OutOfDateConfigurationNeeded',
    'quoting enclave on a platform to configure',
    () => inOrder(on({ qeTcbStatus: 'OutOfDate', tcbStatus: 'ConfigurationNeeded' })),
  ],
  ['OutOfDate', 'TDX module', () => tdInOrder({}, oldModule)],
  ['Revoked', 'TDX module', () => tdInOrder({}, { moduleTcbStatus: 'Revoked' })],
  ['TDRelaunchAdvised', 'TDX module that was updated', () => tdInOrder(updated, oldModule)],
  [
    'TDRelaunchAdvisedConfigurationNeeded',
    'the same on a platform to configure',
    () => tdInOrder(updated, oldModule, on({ tcbStatus: 'ConfigurationNeeded' })),
  ],
  [
    'OutOfDate',
    'the same with an old quoting enclave',
    () => tdInOrder(updated, oldModule, on({ qeTcbStatus: 'OutOfDate' })),
  ],
  [
    'OutOfDate',
    'report 1.0, which tells of no update',
    () => tdInOrder({ version: '1.0' }, oldModule),
  ],
]

/** The quote in order, with parts changed and every signature made anew. */
function quoteWith(change: Partial<QuoteFields>, on: SimPlatform = platform): Uint8Array {
  const fields = { ...parseQuote(on.quote(ENCLAVE)), ...change }
  const raw = (key: typeof keys.pck, bytes: Uint8Array) =>
    new Uint8Array(sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }))
  const own = stateOf(on).keys
  return encodeQuote({
    ...fields,
    qeReportSignature:
      change.qeReportSignature ?? raw(own.pck, encodeSgxReportBody(fields.qeReport)),
    signature: change.signature ?? raw(own.attestation, encodeSignedPart(fields)),
  })
}

/** The platform's chain, with its PCK certificate issued anew. */
export function chainWith(
  change: Partial<CertificateFields>,
  extension?: Uint8Array,
): Partial<QuoteFields> {
  const leaf = issueCertificate({
    issuer: { commonName: SIM_NAMES.platformCa, key: keys.platformCa },
    commonName: SIM_NAMES.pck,
    key: keys.pck,
    notBefore: new Date(AT.getTime() - DAY),
    notAfter: new Date(AT.getTime() + DAY),
    extensions: [{ oid: SGX_EXTENSION, value: extension ?? encodePckExtension(pckExtension) }],
    ...change,
  })
  return certified(leaf, certificates.platformCa, certificates.root)
}

function certified(...chain: readonly Uint8Array[]): Partial<QuoteFields> {
  return { certificationData: { type: 5, data: Buffer.from(encodePemCertificates(...chain)) } }
}

/** A case with parts changed. */
export const show = (change: Partial<Shown>): Shown => ({ ...inOrder(), ...change })
/** A quote with parts changed. */
export const quoting = (change: Partial<QuoteFields>) => show({ evidence: quoteWith(change) })
/** Collateral with parts changed. */
export const endorsing = (change: Partial<Collateral>) =>
  show({ collateral: { ...platform.collateral(AT), ...change } })
const bytesAt = (at: number, ...values: readonly number[]) => {
  const evidence = platform.quote(ENCLAVE)
  evidence.set(values, at)
  return show({ evidence })
}
const bytesOfV5 = (at: number, ...values: readonly number[]) => {
  const evidence = platform.quoteTd({})
  evidence.set(values, at)
  return show({ evidence })
}
/** Collateral whose TCB info is changed and signed anew. */
export const tcbInfoSaying = (change: (text: string) => string) =>
  tcbInfoWith(platform, platform.collateral(AT), change)
const under = (conditions: Partial<SimConditions>) =>
  inOrder(withSimConditions(platform, conditions))
/** A revocation list. */
export const crlBy = (
  issuer: 'root' | 'platformCa',
  change: Partial<Parameters<typeof issueCrl>[0]> = {},
) =>
  issueCrl({
    issuer: { commonName: SIM_NAMES[issuer], key: keys[issuer] },
    thisUpdate: AT,
    nextUpdate: new Date(AT.getTime() + DAY),
    revoked: [],
    ...change,
  })
/** A report of SEV-SNP. */
export const snp = (guest: Parameters<typeof milan.report>[0]): Shown<SnpCollateral> => ({
  evidence: milan.report(guest),
  collateral: milan.collateral(AT),
  roots: [milan.trustRoot],
  at: AT,
})
const ca = (commonName: string, key = keys.platformCa): CertificateFields => ({
  issuer: { commonName: SIM_NAMES.root, key: keys.root },
  ...{ commonName, key, pathLen: 0 },
  notBefore: new Date(AT.getTime() - DAY),
  notAfter: new Date(AT.getTime() + DAY),
})
const crl = platform.collateral(AT).pckCrl
const pckExtension = parsePckExtension(parseCertificate(certificates.pck))
/** Where the certification data of a quote of version 3 begins. */
const CERTIFICATION = 436 + 64 + 64 + 384 + 64 + 2 + 32
const { qeReport } = parseQuote(platform.quote(ENCLAVE))

/** A case for every reason for refusal: its error's name and code, what it is, what is shown. */
export const REFUSALS: readonly (readonly [
  code: string,
  what: string,
  Shown<Collateral | SnpCollateral>,
])[] = [
  // The quote's form
  ['QuoteFormatError TRUNCATED', 'nothing at all', show({ evidence: new Uint8Array() })],
  [
    'QuoteFormatError TRUNCATED',
    'cut in the body',
    show({ evidence: platform.quote(ENCLAVE).slice(0, 300) }),
  ],
  ['QuoteFormatError VERSION', 'version 2', bytesAt(0, 2)],
  ['QuoteFormatError VERSION', '64 MiB of zeros', show({ evidence: new Uint8Array(64 << 20) })],
  ['QuoteFormatError KEY_TYPE', 'P-384', bytesAt(2, 3)],
  ['QuoteFormatError TEE_TYPE', 'TDX in version 3', bytesAt(4, 0x81)],
  ['QuoteFormatError BODY_TYPE', 'a body of type 9', bytesOfV5(48, 9)],
  ['QuoteFormatError LENGTH', 'a body of another size', bytesOfV5(50, 1)],
  ['QuoteFormatError TRUNCATED', 'signature data beyond the end', bytesAt(432, 0xff, 0xff)],
  [
    'QuoteFormatError LENGTH',
    'certificates beyond the signature data',
    bytesAt(CERTIFICATION + 2, 0xff),
  ],
  ['QuoteFormatError LIMIT', 'signature data of 4 GiB', bytesAt(432, 0xff, 0xff, 0xff, 0xff)],
  ['QuoteFormatError CERT_TYPE', 'a platform manifest', bytesAt(CERTIFICATION, 7)],
  ['QuoteFormatError RESERVED', 'a SEV-SNP policy without its fixed bit', snp({ policy: 0n })],
  // Certificates
  [
    'DerError VALUE',
    'text in place of the chain',
    quoting({ certificationData: { type: 5, data: Buffer.from('no PEM') } }),
  ],
  [
    'DerError TRUNCATED',
    'a certificate cut short',
    quoting(certified(certificates.pck.slice(0, -1))),
  ],
  [
    'DerError TRAILING_BYTES',
    'a byte after a certificate',
    quoting(certified(Buffer.concat([certificates.pck, new Uint8Array(1)]))),
  ],
  ['DerError TAG', 'an OCTET STRING for a certificate', quoting(certified(Uint8Array.of(4, 1, 0)))],
  [
    'DerError LENGTH',
    'an indefinite length',
    endorsing({ pckCrl: Uint8Array.of(0x30, 0x80, 0, 0) }),
  ],
  ['DerError LIMIT', 'a list of 2 MiB', endorsing({ pckCrl: new Uint8Array(2 << 20) })],
  [
    'DerError VALUE',
    'a PCK certificate without its extension',
    quoting(chainWith({ extensions: [] })),
  ],
  [
    'ChainError UNTRUSTED_ROOT',
    'another platform',
    show({ ...inOrder(other), roots: [platform.trustRoot] }),
  ],
  [
    'ChainError UNTRUSTED_ROOT',
    'a self-signed leaf as its own root',
    quoting(certified(certificates.pck, certificates.pck)),
  ],
  ['ChainError LENGTH', 'the root alone', quoting(certified(certificates.root))],
  [
    'ChainError NAME',
    'certificates out of order',
    quoting(certified(certificates.platformCa, certificates.pck, certificates.root)),
  ],
  [
    'ChainError LENGTH',
    'a certificate twice',
    quoting(
      certified(certificates.pck, certificates.pck, certificates.platformCa, certificates.root),
    ),
  ],
  [
    'ChainError SIGNATURE',
    'a leaf by another key of the CA’s name',
    quoting(chainWith({ issuer: { commonName: SIM_NAMES.platformCa, key: keys.attestation } })),
  ],
  [
    'ChainError NOT_A_CA',
    'a CA without the flag',
    quoting(
      certified(
        certificates.pck,
        issueCertificate({ ...withoutPathLen(ca(SIM_NAMES.platformCa)) }),
        certificates.root,
      ),
    ),
  ],
  [
    'ChainError NOT_A_CA',
    'a CA that does not say what its key is for',
    quoting(
      certified(
        certificates.pck,
        issueCertificate({ ...ca(SIM_NAMES.platformCa), keyUsage: false }),
        certificates.root,
      ),
    ),
  ],
  [
    'ChainError LENGTH',
    'a CA below a root that allows none',
    quoting(
      certified(
        certificates.pck,
        certificates.platformCa,
        issueCertificate(ca(SIM_NAMES.root, keys.root)),
      ),
    ),
  ],
  [
    'ChainError LENGTH',
    'a PCK certificate that the root issued',
    quoting(
      certified(
        issueCertificate({
          ...withoutPathLen(ca(SIM_NAMES.pck, keys.pck)),
          extensions: [{ oid: SGX_EXTENSION, value: encodePckExtension(pckExtension) }],
        }),
        certificates.root,
      ),
    ),
  ],
  [
    'ChainError LENGTH',
    'a signer of documents that is not of the root itself',
    endorsing({
      tcbInfoIssuerChain: encodePemCertificates(
        issueCertificate({
          ...withoutPathLen(ca(SIM_NAMES.tcbSigning, keys.tcbSigning)),
          issuer: { commonName: SIM_NAMES.platformCa, key: keys.platformCa },
        }),
        certificates.platformCa,
        certificates.root,
      ),
    }),
  ],
  [
    'DerError VALUE',
    'a PCK certificate with an instance id and no configuration',
    quoting(chainWith({}, encodePckExtension(withoutConfiguration(pckExtension)))),
  ],
  [
    'DerError VALUE',
    'a PCK certificate with half a configuration',
    quoting(
      chainWith(
        {},
        encodePckExtension({ ...pckExtension, configuration: { smtEnabled: true } as never }),
      ),
    ),
  ],
  [
    'DerError VALUE',
    'a PCK certificate of an unknown SGX type',
    quoting(chainWith({}, encodePckExtension({ ...pckExtension, sgxType: 3 }))),
  ],
  [
    'DerError VALUE',
    'a critical extension of a certificate that is unknown',
    quoting(
      chainWith({ extensions: [{ oid: '1.2.3.4', value: Uint8Array.of(5, 0), critical: true }] }),
    ),
  ],
  [
    'ChainError EXPIRED',
    'a PCK certificate past its end',
    quoting(chainWith({ notAfter: new Date(AT.getTime() - 1000) })),
  ],
  [
    'ChainError NOT_YET_VALID',
    'a PCK certificate of tomorrow',
    quoting(chainWith({ notBefore: new Date(AT.getTime() + 1000) })),
  ],
  ['ChainError REVOKED', 'a revoked PCK', under({ revoked: ['pck'] })],
  ['ChainError REVOKED', 'a revoked CA', under({ revoked: ['platformCa'] })],
  ['ChainError REVOKED', 'a revoked TCB signer', under({ revoked: ['tcbSigning'] })],
  ['ChainError CRL_EXPIRED', 'an old list of the root', under({ expired: ['rootCaCrl'] })],
  ['ChainError CRL_EXPIRED', 'an old list of the CA', under({ expired: ['pckCrl'] })],
  [
    'ChainError CRL_EXPIRED',
    'a list years old',
    endorsing({
      pckCrl: crlBy('platformCa', {
        thisUpdate: new Date('2019-01-01'),
        nextUpdate: new Date('2019-02-01'),
      }),
    }),
  ],
  [
    'ChainError NOT_YET_VALID',
    'a list of tomorrow',
    endorsing({ pckCrl: crlBy('platformCa', { thisUpdate: new Date(AT.getTime() + 1000) }) }),
  ],
  [
    'ChainError CRL_SIGNATURE',
    'a list with a bit flipped',
    endorsing({ pckCrl: crl.map((byte, at) => (at === crl.length - 1 ? byte ^ 1 : byte)) }),
  ],
  [
    'ChainError CRL_SIGNATURE',
    'a list by another key of the CA’s name',
    endorsing({
      pckCrl: crlBy('platformCa', {
        issuer: { commonName: SIM_NAMES.platformCa, key: keys.attestation },
      }),
    }),
  ],
  [
    'ChainError CRL_ISSUER',
    'the root’s list for the CA’s',
    endorsing({ pckCrl: platform.collateral(AT).rootCaCrl }),
  ],
  [
    'ChainError CRL_ISSUER',
    'another CA’s list',
    endorsing({
      pckCrl: crlBy('platformCa', { issuer: { commonName: 'Another CA', key: keys.attestation } }),
    }),
  ],
  ['DerError TRUNCATED', 'an empty list', endorsing({ pckCrl: new Uint8Array() })],
  ['DerError VALUE', 'garbage for a list', endorsing({ pckCrl: Uint8Array.of(0x30, 0) })],
  [
    'DerError VALUE',
    'a list with a serial twice, signed',
    endorsing({ pckCrl: crlBy('platformCa', { revoked: ['11', '11'] }) }),
  ],
  ...['2.5.29.27', '2.5.29.28'].map(
    id =>
      [
        'DerError VALUE',
        `a list that is not whole, signed, and does not call it critical (${id})`,
        endorsing({
          pckCrl: crlBy('platformCa', { extensions: [{ oid: id, value: Uint8Array.of(2, 1, 0) }] }),
        }),
      ] as const,
  ),
  [
    'DerError VALUE',
    'a list with a critical extension that is unknown, signed',
    endorsing({
      pckCrl: crlBy('platformCa', {
        extensions: [{ oid: '2.5.29.28', value: Uint8Array.of(0x30, 0), critical: true }],
      }),
    }),
  ],
  ['ChainError CRL_SIGNATURE', 'a list that nobody signed', endorsing({ pckCrl: unsigned(crl) })],
  [
    'ChainError CRL_SIGNATURE',
    'a list by another platform, whose root is pinned too',
    show({ collateral: { ...platform.collateral(AT), pckCrl: other.collateral(AT).pckCrl } }),
  ],
  [
    'ChainError CRL_SIGNATURE',
    'all collateral of another platform, whose root is pinned too',
    show({ collateral: other.collateral(AT), roots: [platform.trustRoot, other.trustRoot] }),
  ],
  [
    'ChainError EXPIRED',
    'the clock after all validity',
    show({ at: new Date('2100-01-01T00:00:00Z') }),
  ],
  [
    'ChainError NOT_YET_VALID',
    'the clock before all validity',
    show({ at: new Date('2000-01-01T00:00:00Z') }),
  ],
  // Collateral
  [
    'CollateralError SIGNATURE',
    'TCB info by another platform',
    endorsing({ tcbInfoSignature: other.collateral(AT).tcbInfoSignature }),
  ],
  [
    'CollateralError SIGNATURE',
    'members in another order',
    endorsing({ tcbInfo: reordered(platform.collateral(AT).tcbInfo) }),
  ],
  [
    'CollateralError FORMAT',
    'members in another order with white space, signed',
    show({ collateral: tcbInfoSaying(text => text.replace('{', '{ ')) }),
  ],
  [
    'CollateralError FORMAT',
    'a member twice, signed',
    show({
      collateral: tcbInfoSaying(text => text.replace('{"id":"SGX"', '{"id":"TDX","id":"SGX"')),
    }),
  ],
  ['CollateralError FORMAT', 'no JSON, signed', show({ collateral: tcbInfoSaying(() => '{') })],
  ['CollateralError LIMIT', '2 MiB of TCB info', endorsing({ tcbInfo: ' '.repeat(2 << 20) })],
  [
    'CollateralError SIGNER',
    'a document signed by the CA',
    endorsing({ tcbInfoIssuerChain: platform.collateral(AT).pckCrlIssuerChain }),
  ],
  [
    'CollateralError VERSION',
    'TCB info of version 9',
    show({ collateral: tcbInfoSaying(text => text.replace('"version":3', '"version":9')) }),
  ],
  [
    'CollateralError VERSION',
    'collateral of trust domains',
    show({ collateral: platform.tdxCollateral(AT) }),
  ],
  [
    'CollateralError FMSPC',
    'TCB info of another line of processors',
    endorsing(platform.collateral(AT, { fmspc: Uint8Array.of(0xc2, 1, 2, 3, 4, 5) })),
  ],
  [
    'CollateralError PCEID',
    'TCB info of another PCE',
    show({ collateral: tcbInfoSaying(text => text.replace('"pceId":"0000"', '"pceId":"0001"')) }),
  ],
  ['CollateralError EXPIRED', 'old TCB info', under({ expired: ['tcbInfo'] })],
  ['CollateralError EXPIRED', 'an old identity', under({ expired: ['qeIdentity'] })],
  [
    'CollateralError NOT_YET_VALID',
    'TCB info of tomorrow',
    show({
      collateral: tcbInfoSaying(() => platform.collateral(new Date(AT.getTime() + DAY)).tcbInfo),
      at: AT,
    }),
  ],
  [
    'CollateralError OTHER_TEE',
    'collateral of SEV-SNP',
    { ...inOrder(), collateral: milan.collateral(AT) },
  ],
  // The quote's contents
  ['EvidenceError QE_VENDOR', 'no root of this vendor', show({ roots: [] })],
  [
    'EvidenceError AMBIGUOUS_ROOT',
    'one root for hardware and simulation',
    show({ roots: [platform.trustRoot, { ...platform.trustRoot, kind: 'intel' }] }),
  ],
  [
    'EvidenceError CERTIFICATION_DATA',
    'no chain anywhere',
    show({ evidence: platform.quote(ENCLAVE, { certification: 1 }) }),
  ],
  [
    'EvidenceError PCK',
    'a leaf that is no PCK certificate',
    quoting(chainWith({ commonName: 'Somebody' })),
  ],
  [
    'EvidenceError KEY',
    'an attestation key that is no point',
    quoting({
      attestationKey: new Uint8Array(64),
      qeReport: { ...qeReport, reportData: boundTo(new Uint8Array(64)) },
    }),
  ],
  [
    'EvidenceError QE_REPORT_SIGNATURE',
    'a QE report by another PCK',
    quoting({ qeReportSignature: new Uint8Array(64).fill(1) }),
  ],
  [
    'EvidenceError QE_REPORT_DATA',
    'an attestation key of another QE',
    quoting({ qeReport: { ...qeReport, reportData: new Uint8Array(64) } }),
  ],
  ['EvidenceError QE_IDENTITY', 'a wrong quoting enclave', under({ wrongQe: true })],
  [
    'EvidenceError QUOTE_SIGNATURE',
    'a quote by another key',
    quoting({ signature: new Uint8Array(64).fill(1) }),
  ],
  [
    'EvidenceError TCB_NOT_SUPPORTED',
    'a platform below every level',
    under({ tcbStatus: 'NotSupported' }),
  ],
  [
    'EvidenceError TCB_NOT_SUPPORTED',
    'a quoting enclave below every level',
    under({ qeTcbStatus: 'NotSupported' }),
  ],
  [
    'EvidenceError TCB_NOT_SUPPORTED',
    'a TDX module below every level',
    tdInOrder({}, { moduleTcbStatus: 'NotSupported' }),
  ],
  [
    'EvidenceError TDX_MODULE',
    'a module of another signer',
    tdInOrder({ mrSignerSeam: new Uint8Array(48).fill(1) }),
  ],
  [
    'EvidenceError TDX_MODULE',
    'a module with attributes',
    tdInOrder({ seamAttributes: new Uint8Array(8).fill(1) }),
  ],
  [
    'EvidenceError TDX_MODULE',
    'a module of an unknown major version',
    tdInOrder({ teeTcbSvn: Uint8Array.of(5, 9, 3, ...new Uint8Array(13)) }),
  ],
  // SEV-SNP; the rest of it is in sev-snp/snp.test.ts
  [
    'EvidenceError PRODUCT',
    'another processor',
    snp({ cpuid: { family: 0x1a, model: 2, stepping: 1 } }),
  ],
  ['EvidenceError SIGNING_KEY', 'another kind of key', snp({ signingKey: 'VLEK' })],
  [
    'EvidenceError REPORTED_TCB',
    'another TCB',
    snp({ reportedTcb: encodeSnpTcb('Milan', { bootLoader: 1, tee: 0, snp: 1, microcode: 1 }) }),
  ],
  [
    'EvidenceError COMMITTED_TCB',
    'more committed than current',
    snp({
      committedTcb: encodeSnpTcb('Milan', { bootLoader: 9, tee: 0, snp: 24, microcode: 219 }),
    }),
  ],
  ['EvidenceError CHIP_ID', 'another chip', snp({ chipId: new Uint8Array(64).fill(1) })],
  [
    'EvidenceError REPORT_SIGNATURE',
    'a report with a bit flipped',
    { ...snp({}), evidence: milan.report({}).with(80, 1) },
  ],
]

/** A list as it is, with no bits where its signature stood. */
function unsigned(list: Uint8Array): Uint8Array {
  return sequence(parseCrl(list).tbs, sequence(oid(ECDSA_SHA256)), bitString(new Uint8Array()))
}

function withoutPathLen({ pathLen: _pathLen, ...fields }: CertificateFields): CertificateFields {
  return fields
}

function withoutConfiguration({ configuration: _, ...pck }: PckExtension): PckExtension {
  return pck
}

function reordered(text: string): string {
  return JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()))
}

function boundTo(attestationKey: Uint8Array): Uint8Array {
  const auth = parseQuote(platform.quote(ENCLAVE)).qeAuthData
  const bound = createHash('sha256').update(attestationKey).update(auth).digest()
  return Buffer.concat([bound, new Uint8Array(32)])
}
