import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { QuoteBody } from '../quote/body.ts'
import { type CertificationData, PPID_SIZES } from '../quote/certification-data.ts'
import { encodeQuote, encodeSignedPart } from '../quote/quote.ts'
import { encodeSgxReportBody, SGX_FLAGS, type SgxReportBody } from '../sgx/report-body.ts'
import type { TdReport } from '../tdx/td-report.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { type PckExtension, parsePckExtension } from '../x509/pck.ts'
import { encodePemCertificates } from '../x509/pem.ts'
import { SIM_QE_VENDOR_ID } from './names.ts'
import { SIM_QE, type SimState } from './state.ts'

/** The enclave a simulated quote is about. */
export interface SimEnclave {
  /** 32 bytes. */
  readonly mrEnclave: Uint8Array
  /** 32 bytes. */
  readonly mrSigner: Uint8Array
  readonly isvProdId: number
  readonly isvSvn: number
  /** Whether the enclave runs in debug mode. */
  readonly debug: boolean
  /** 64 bytes; what the enclave chose. */
  readonly reportData: Uint8Array
}

/** How a simulated quote is laid out; version and certificates as the vendor's unless told. */
export interface SimQuoteLayout {
  /** 3 for enclaves and 4 for trust domains unless told. */
  readonly version?: 3 | 4 | 5
  /**
   * 1: the quote holds the platform's PPID; 2, 3: an encrypted one, which nobody can decrypt; 4: its
   * PCK certificate; 5, unless told: the chain.
   */
  readonly certification?: CertificationData['type']
}

/** What Intel's quoting enclave puts there: the bytes 0 to 31. */
const QE_AUTH_DATA = Uint8Array.from({ length: 32 }, (_, index) => index)

/** x87, SSE and AVX state. */
const XFRM = 7n

/**
 * Quotes an enclave: an SGX quote with the platform's PCK chain.
 * @throws QuoteFormatError LENGTH when a field does not have its size
 */
export function simQuote(
  state: SimState,
  enclave: SimEnclave,
  layout: SimQuoteLayout = {},
): Uint8Array {
  const flags = SGX_FLAGS.init | SGX_FLAGS.mode64Bit | (enclave.debug ? SGX_FLAGS.debug : 0n)
  const report = reportBody({
    cpuSvn: pckOf(state).cpusvn,
    attributes: { flags, xfrm: XFRM },
    mrEnclave: enclave.mrEnclave,
    mrSigner: enclave.mrSigner,
    isvProdId: enclave.isvProdId,
    isvSvn: enclave.isvSvn,
    reportData: enclave.reportData,
  })
  return quoted(state, { kind: 'enclave', report }, { version: 3, ...layout })
}

/**
 * Quotes a trust domain: a TDX quote with the platform's PCK chain. A report 1.5 takes version 5.
 * @throws QuoteFormatError LENGTH when a field does not have its size
 */
export function simTdQuote(
  state: SimState,
  report: TdReport,
  layout: SimQuoteLayout = {},
): Uint8Array {
  const version = report.version === '1.5' ? 5 : 4
  return quoted(state, { kind: 'td', report }, { version, ...layout })
}

function quoted(
  state: SimState,
  body: QuoteBody,
  { version, certification = 5 }: SimQuoteLayout & { readonly version: 3 | 4 | 5 },
): Uint8Array {
  const { conditions, keys } = state
  const pck = pckOf(state)
  const attestationKey = pointOf(keys.attestation)
  const bound = createHash('sha256').update(attestationKey).update(QE_AUTH_DATA).digest()
  const qeReport = reportBody({
    cpuSvn: pck.cpusvn,
    attributes: { flags: SGX_FLAGS.init | SGX_FLAGS.mode64Bit, xfrm: XFRM },
    mrEnclave: SIM_QE.mrEnclave,
    mrSigner: conditions.wrongQe ? SIM_QE.wrongMrSigner : SIM_QE.mrSigner,
    isvProdId: SIM_QE.isvProdId,
    isvSvn: SIM_QE.isvSvn,
    reportData: Buffer.concat([bound, new Uint8Array(32)]),
  })
  const fields = {
    header: {
      version,
      attestationKeyType: 2,
      teeType: body.kind === 'enclave' ? 'sgx' : 'tdx',
      qeSvn: SIM_QE.isvSvn,
      pceSvn: pck.pcesvn,
      qeVendorId: SIM_QE_VENDOR_ID,
      // The QE id, by which a caching service looks a platform up: here the PPID stands for it.
      userData: Buffer.concat([pck.ppid, new Uint8Array(4)]),
    },
    body,
    attestationKey,
    qeReport,
    qeReportSignature: signP256(keys.pck, encodeSgxReportBody(qeReport)),
    qeAuthData: QE_AUTH_DATA,
    certificationData: certificationOf(state, certification),
  } as const
  return encodeQuote({
    ...fields,
    signature: signP256(keys.attestation, encodeSignedPart(fields)),
  })
}

function certificationOf(state: SimState, type: CertificationData['type']): CertificationData {
  const { certificates } = state
  if (type === 1 || type === 2 || type === 3) {
    const { ppid: plain, cpusvn, pcesvn, pceid } = pckOf(state)
    const ppid = type === 1 ? plain : randomBytes(PPID_SIZES[type])
    return { type, ppid, cpuSvn: cpusvn, pceSvn: pcesvn, pceId: pceid }
  }
  const issuers = type === 5 ? [certificates.platformCa, certificates.root] : []
  return { type, data: Buffer.from(encodePemCertificates(certificates.pck, ...issuers)) }
}

function pckOf({ certificates }: SimState): PckExtension {
  return parsePckExtension(parseCertificate(certificates.pck))
}

type ReportFields = Pick<
  SgxReportBody,
  'cpuSvn' | 'attributes' | 'mrEnclave' | 'mrSigner' | 'isvProdId' | 'isvSvn' | 'reportData'
>

function reportBody(fields: ReportFields): SgxReportBody {
  return {
    ...fields,
    miscSelect: 0,
    reserved1: new Uint8Array(12),
    isvExtProdId: new Uint8Array(16),
    reserved2: new Uint8Array(32),
    reserved3: new Uint8Array(32),
    configId: new Uint8Array(64),
    configSvn: 0,
    reserved4: new Uint8Array(42),
    isvFamilyId: new Uint8Array(16),
  }
}

/** x then y, big-endian. */
function pointOf(key: KeyObject): Uint8Array {
  const { x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' })
  return Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

function signP256(key: KeyObject, bytes: Uint8Array): Uint8Array {
  return sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
}
