import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { SnpCollateral } from '../sev-snp/collateral.ts'
import {
  encodeSnpReport,
  encodeSnpSignedPart,
  SNP_POLICY,
  type SnpCpuid,
  type SnpReport,
} from '../sev-snp/report.ts'
import { encodeSnpTcb, type SnpProduct, type SnpTcb } from '../sev-snp/tcb.ts'
import { IA5_STRING, VEK_EXTENSIONS } from '../sev-snp/vek.ts'
import type { SimSnpRoot } from '../verify/roots.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { der, integer } from '../x509/der-writer.ts'
import { encodePemCertificates } from '../x509/pem.ts'
import { issueCertificate, issueCrl, spkiOf } from './certificate-writer.ts'
import { wholeSeconds } from './state.ts'

/** Certificates of a simulated SEV-SNP platform that its root can revoke. */
export const SIM_SNP_REVOCABLES = ['intermediate', 'vlek'] as const

/** Options of {@link createSimSnpPlatform}. */
export interface SimSnpOptions {
  /** From when the certificates are valid, for ten years. */
  readonly createdAt: Date
  /** Milan unless told. */
  readonly product?: SnpProduct
  /** Which key signs reports; a VCEK unless told. */
  readonly signingKey?: SnpReport['signingKey']
  /** What the signing key's certificate, and a report unless told, say. */
  readonly tcb?: SnpTcb
  /** What the revocation list names. */
  readonly revoked?: readonly (typeof SIM_SNP_REVOCABLES)[number][]
  /** Whether the revocation list is 30 days past its end when it is asked for. */
  readonly expiredCrl?: boolean
}

/** A simulated SEV-SNP platform with a root of its own. Whoever holds it can report anything. */
export interface SimSnpPlatform {
  /** What a verifier pins to accept this platform's reports. */
  readonly trustRoot: SimSnpRoot
  /** What it reports unless told. */
  readonly defaults: Omit<SnpReport, 'signature'>
  /**
   * Reports a guest, signed whatever it says.
   * @throws QuoteFormatError LENGTH when a field does not have its size
   */
  report(guest: Partial<Omit<SnpReport, 'signature'>>): Uint8Array
  /** Issues a revocation list that is valid from `at` for 30 days, beside the certificates. */
  collateral(at: Date): SnpCollateral
}

const DAY = 24 * 60 * 60 * 1000
const TEN_YEARS = 3653
const CRL_DAYS = 30
/** Short for RSA, as two are made for each platform; AMD's have 4096. */
const RSA_BITS = 2048

const CPUIDS: Readonly<Record<SnpProduct, SnpCpuid>> = {
  Milan: { family: 0x19, model: 0x01, stepping: 1 },
  Genoa: { family: 0x19, model: 0x11, stepping: 1 },
  Turin: { family: 0x1a, model: 0x02, stepping: 1 },
}

/** Makes a simulated SEV-SNP platform: fresh keys, root, intermediate and signing key. */
export function createSimSnpPlatform(options: SimSnpOptions): SimSnpPlatform {
  const { createdAt, product = 'Milan', signingKey = 'VCEK', revoked = [] } = options
  const tcb = options.tcb ?? { bootLoader: 4, tee: 0, snp: 24, microcode: 219 }
  const certified = product === 'Turin' ? { fmc: 0, ...tcb } : tcb
  const hwId = new Uint8Array(randomBytes(product === 'Turin' ? 8 : 64))
  const notBefore = wholeSeconds(createdAt)
  const validity = { notBefore, notAfter: new Date(notBefore.getTime() + TEN_YEARS * DAY) }
  const root = { commonName: `Cloister Simulated ARK-${product}`, key: newRsaKey() }
  const intermediate = { commonName: `Cloister Simulated SEV-${product}`, key: newRsaKey() }
  const vek = {
    commonName: `Cloister Simulated SEV-${signingKey}`,
    key: generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  }
  const certificates = {
    root: issueCertificate({ ...validity, ...root, issuer: root, pathLen: 1 }),
    intermediate: issueCertificate({ ...validity, ...intermediate, issuer: root, pathLen: 0 }),
    vek: issueCertificate({
      ...validity,
      ...vek,
      issuer: intermediate,
      extensions: extensionsOf(product, certified, signingKey === 'VCEK' ? hwId : undefined),
    }),
  }
  const serials = {
    intermediate: parseCertificate(certificates.intermediate).serial,
    vlek: parseCertificate(certificates.vek).serial,
  }
  const defaults = reportOf(product, certified, signingKey, hwId)
  return {
    trustRoot: {
      kind: 'sim-snp',
      product,
      keyId: new Uint8Array(createHash('sha384').update(spkiOf(root.key)).digest()),
    },
    defaults,
    report: guest => signedReport(ofVersion({ ...defaults, ...guest }), vek.key),
    collateral: at => {
      const late = options.expiredCrl === true ? 2 * CRL_DAYS * DAY : 0
      const thisUpdate = wholeSeconds(new Date(at.getTime() - late))
      return {
        vek: certificates.vek,
        chain: encodePemCertificates(certificates.intermediate, certificates.root),
        crl: issueCrl({
          issuer: root,
          thisUpdate,
          nextUpdate: new Date(thisUpdate.getTime() + CRL_DAYS * DAY),
          revoked: revoked.map(name => serials[name]),
        }),
      }
    },
  }
}

function signedReport(fields: Omit<SnpReport, 'signature'>, key: KeyObject): Uint8Array {
  const signature = sign('sha384', encodeSnpSignedPart(fields), { key, dsaEncoding: 'ieee-p1363' })
  return new Uint8Array(encodeSnpReport({ ...fields, signature }))
}

/** Without what only later versions have. */
function ofVersion(fields: Omit<SnpReport, 'signature'>): Omit<SnpReport, 'signature'> {
  const { cpuid, mitigations, ...common } = fields
  return {
    ...common,
    ...(fields.version < 3 || cpuid === undefined ? {} : { cpuid }),
    ...(fields.version < 5 || mitigations === undefined ? {} : { mitigations }),
  }
}

/** A guest of version 5 that allows nothing, at VMPL 0. */
function reportOf(
  product: SnpProduct,
  tcb: SnpTcb,
  signingKey: SnpReport['signingKey'],
  hwId: Uint8Array,
): Omit<SnpReport, 'signature'> {
  const chipId = new Uint8Array(64)
  chipId.set(hwId)
  const version = encodeSnpTcb(product, tcb)
  const firmware = { major: 1, minor: 55, build: 35 }
  return {
    version: 5,
    guestSvn: 0,
    policy: SNP_POLICY.reserved1,
    familyId: new Uint8Array(16),
    imageId: new Uint8Array(16),
    vmpl: 0,
    currentTcb: version,
    platformInfo: 0n,
    authorKeyEnabled: false,
    maskChipKey: false,
    signingKey,
    reportData: new Uint8Array(64),
    measurement: new Uint8Array(48),
    hostData: new Uint8Array(32),
    idKeyDigest: new Uint8Array(48),
    authorKeyDigest: new Uint8Array(48),
    reportId: new Uint8Array(32),
    reportIdMa: new Uint8Array(32).fill(0xff),
    reportedTcb: version,
    cpuid: CPUIDS[product],
    chipId,
    committedTcb: version,
    currentFirmware: firmware,
    committedFirmware: firmware,
    launchTcb: version,
    mitigations: { launch: 0n, current: 0n },
  }
}

function extensionsOf(product: SnpProduct, tcb: SnpTcb, hwId: Uint8Array | undefined) {
  const text = (value: string) => der(IA5_STRING, Buffer.from(value, 'ascii'))
  const parts: readonly (readonly [id: string, value: Uint8Array])[] = [
    ['1', integer(product === 'Turin' ? 1 : 0)],
    ['2', text(product === 'Milan' ? 'Milan-B0' : product)],
    ['3.1', integer(tcb.bootLoader)],
    ['3.2', integer(tcb.tee)],
    ['3.3', integer(tcb.snp)],
    ['3.8', integer(tcb.microcode)],
    ...(tcb.fmc === undefined ? [] : [['3.9', integer(tcb.fmc)] as const]),
    hwId === undefined ? ['5', text('CN=sim.cloister.invalid')] : ['4', hwId],
  ]
  return parts.map(([id, value]) => ({ oid: `${VEK_EXTENSIONS}.${id}`, value }))
}

function newRsaKey(): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength: RSA_BITS }).privateKey
}
