import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { Collateral } from '../collateral/collateral.ts'
import type { QeIdentity } from '../collateral/qe-identity.ts'
import type { SimRoot } from '../verify/roots.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { parsePckExtension, SGX_EXTENSION } from '../x509/pck.ts'
import { encodePemCertificates } from '../x509/pem.ts'
import { issueCertificate, spkiOf } from './certificate-writer.ts'
import { type SimDocument, simCollateral, simEvaluationNumbers, simIdentity } from './collateral.ts'
import type { SimConditions, SimTcbInfoForm } from './conditions.ts'
import { SIM_NAMES, SIM_QE_VENDOR_ID } from './names.ts'
import { encodePckExtension } from './pck-extension.ts'
import { type SimEnclave, type SimQuoteLayout, simQuote, simTdQuote } from './quote.ts'
import { SIM_TCB, type SimState, wholeSeconds } from './state.ts'
import { type SimTd, type SimTdxConditions, simTdReport } from './td.ts'

/** A simulated platform with a root of its own. Whoever holds it can quote anything. */
export interface SimPlatform {
  /** What a verifier pins to accept this platform's evidence. */
  readonly trustRoot: SimRoot
  readonly conditions: SimConditions
  /**
   * Quotes an enclave, as version 3 unless told.
   * @throws QuoteFormatError LENGTH when a field does not have its size
   */
  quote(enclave: SimEnclave, layout?: SimQuoteLayout): Uint8Array
  /**
   * Quotes a trust domain: a report 1.5 as version 5, a report 1.0 as version 4 unless told.
   * @throws QuoteFormatError LENGTH when a field does not have its size
   */
  quoteTd(td: SimTd, layout?: SimQuoteLayout): Uint8Array
  /** Issues collateral for enclaves that is valid from `at` for 30 days. */
  collateral(at: Date, form?: SimTcbInfoForm): Collateral
  /** Issues the list of evaluation numbers, valid from `at` for 30 days. */
  evaluationNumbers(at: Date, id: 'SGX' | 'TDX'): SimDocument
  /** Issues collateral for trust domains that is valid from `at` for 30 days. */
  tdxCollateral(at: Date, tdx?: SimTdxConditions): Collateral
  /** Issues the identity of one of the vendor's enclaves, valid from `at` for 30 days. */
  identity(at: Date, id: QeIdentity['id']): SimDocument
  /**
   * Issues a further PCK certificate under the platform's CA, for another TCB, or of another
   * platform: a PEM chain, the certificate first. Nothing here holds its key.
   */
  pckCertificate(about?: SimPck): string
}

/** What a further PCK certificate says; what is left out is as in the platform's own. */
export interface SimPck {
  /** 16 security versions, of the CPUSVN too. */
  readonly components?: readonly number[]
  readonly pceSvn?: number
  /** 16 bytes; another is another platform's. */
  readonly ppid?: Uint8Array
  /** 6 bytes. */
  readonly fmspc?: Uint8Array
  /** 2 bytes. */
  readonly pceId?: Uint8Array
}

/** Options of {@link createSimPlatform}; conditions left out are those of a platform in order. */
export interface SimPlatformOptions extends Partial<SimConditions> {
  /** From when the certificates are valid. */
  readonly createdAt: Date
  /** How long they are; ten years unless told. */
  readonly validForDays?: number
}

const DAY = 24 * 60 * 60 * 1000
const TEN_YEARS = 3653

const states = new WeakMap<SimPlatform, SimState>()

/** Makes a simulated platform: fresh keys, its own root, certificates and attestation key. */
export function createSimPlatform(options: SimPlatformOptions): SimPlatform {
  const { createdAt, validForDays = TEN_YEARS, ...conditions } = options
  const notBefore = wholeSeconds(createdAt)
  const validity = { notBefore, notAfter: new Date(notBefore.getTime() + validForDays * DAY) }
  const keys = {
    root: newKey(),
    platformCa: newKey(),
    tcbSigning: newKey(),
    pck: newKey(),
    attestation: newKey(),
  }
  const byRoot = { ...validity, issuer: { commonName: SIM_NAMES.root, key: keys.root } }
  const byPlatformCa = {
    ...validity,
    issuer: { commonName: SIM_NAMES.platformCa, key: keys.platformCa },
  }
  const subject = (name: keyof typeof SIM_NAMES) => ({
    commonName: SIM_NAMES[name],
    key: keys[name],
  })
  const certificates = {
    root: issueCertificate({ ...byRoot, ...subject('root'), pathLen: 1 }),
    platformCa: issueCertificate({ ...byRoot, ...subject('platformCa'), pathLen: 0 }),
    tcbSigning: issueCertificate({ ...byRoot, ...subject('tcbSigning') }),
    pck: issueCertificate({
      ...byPlatformCa,
      ...subject('pck'),
      extensions: [{ oid: SGX_EXTENSION, value: newPckExtension() }],
    }),
  }
  const inOrder: SimConditions = {
    tcbStatus: 'UpToDate',
    qeTcbStatus: 'UpToDate',
    advisoryIds: [],
    tcbDate: notBefore,
    tcbEvaluationDataNumber: 1,
    revoked: [],
    expired: [],
    wrongQe: false,
  }
  return platformOf({ conditions: { ...inOrder, ...conditions }, keys, certificates })
}

/** The same platform (keys, root, certificates) under other conditions. */
export function withSimConditions(
  platform: SimPlatform,
  conditions: Partial<SimConditions>,
): SimPlatform {
  const state = stateOf(platform)
  return platformOf({ ...state, conditions: { ...state.conditions, ...conditions } })
}

/** The platform made of a state. */
export function platformOf(state: SimState): SimPlatform {
  const platform: SimPlatform = {
    trustRoot: {
      kind: 'sim',
      spki: spkiOf(state.keys.root),
      qeVendorId: SIM_QE_VENDOR_ID.slice(),
    },
    conditions: state.conditions,
    quote: (enclave, layout) => simQuote(state, enclave, layout),
    quoteTd: (td, layout) => simTdQuote(state, simTdReport(td), layout),
    collateral: (at, form) => simCollateral(state, at, form),
    evaluationNumbers: (at, id) => simEvaluationNumbers(state, at, id),
    tdxCollateral: (at, tdx = {}) => simCollateral(state, at, {}, tdx),
    identity: (at, id) => simIdentity(state, at, id),
    pckCertificate: about => furtherPck(state, about),
  }
  states.set(platform, state)
  return platform
}

/** The state a platform is made of. */
export function stateOf(platform: SimPlatform): SimState {
  const state = states.get(platform)
  if (state === undefined) throw new TypeError('not a platform that this package made')
  return state
}

function furtherPck({ keys, certificates }: SimState, about: SimPck = {}): string {
  const { notBefore, notAfter, ...own } = parseCertificate(certificates.pck)
  const pck = parsePckExtension(own)
  const { components = pck.tcbComponents, pceSvn = pck.pcesvn } = about
  const value = encodePckExtension({
    ...pck,
    ...{ tcbComponents: components, cpusvn: Uint8Array.from(components), pcesvn: pceSvn },
    ...{ ppid: about.ppid ?? pck.ppid, fmspc: about.fmspc ?? pck.fmspc },
    pceid: about.pceId ?? pck.pceid,
  })
  const certificate = issueCertificate({
    ...{ notBefore, notAfter, key: newKey(), commonName: SIM_NAMES.pck },
    issuer: { commonName: SIM_NAMES.platformCa, key: keys.platformCa },
    extensions: [{ oid: SGX_EXTENSION, value }],
  })
  return encodePemCertificates(certificate, certificates.platformCa, certificates.root)
}

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

function newPckExtension(): Uint8Array {
  return encodePckExtension({
    ppid: randomBytes(16),
    tcbComponents: SIM_TCB.components,
    pcesvn: SIM_TCB.pceSvn,
    cpusvn: Uint8Array.from(SIM_TCB.components),
    pceid: new Uint8Array(2),
    fmspc: SIM_FMSPC,
    sgxType: 1,
    platformInstanceId: randomBytes(16),
    configuration: { dynamicPlatform: false, cachedKeys: false, smtEnabled: false },
  })
}

/** Family, model and stepping of a processor nobody made. */
const SIM_FMSPC = Uint8Array.of(0xc1, 0x01, 0x57, 0xe5, 0x00, 0x00)
