import {
  ChainError,
  CollateralError,
  encodePemCertificates,
  isRevoked,
  type PckExtension,
  parseCertificate,
  parseCrl,
  type SingleDocumentOptions,
  splitPemCertificates,
  type VerifiedPck,
  verifyPckCertificate,
} from '@cloister/attestation'
import type { PckCertificateName, PckCertificatesName } from './name.ts'
import type { RawDocument } from './raw-document.ts'

/** One PCK certificate of a platform. */
export interface PlatformPck {
  /** PEM. */
  readonly pem: string
  readonly extension: PckExtension
  /** CPUSVN and PCESVN (little-endian) that it certifies: 36 upper-case hexadecimal digits. */
  readonly tcbm: string
}

/** A TCB that the vendor has no certificate for. */
export interface UncertifiedTcb {
  readonly components: readonly number[]
  readonly pceSvn: number
  readonly tcbm: string
}

/** The PCK certificates of one platform, verified: all of one PPID, FMSPC and CA. */
export interface PlatformPcks {
  readonly certificates: readonly PlatformPck[]
  readonly notAvailable: readonly UncertifiedTcb[]
  /** 12 upper-case hexadecimal digits. */
  readonly fmspc: string
  /** 32 upper-case hexadecimal digits. */
  readonly ppid: string
  readonly ca: VerifiedPck['ca']
  readonly endsAt: Date
}

/** Most TCBs that an answer may list. */
const MOST = 512

/**
 * Verifies a platform's PCK certificates. Revoked and expired ones are left out; any other fault
 * refuses all. That they are of the platform that was asked for nobody can see but the vendor: its
 * PPID goes there encrypted.
 * @throws DerError, ChainError, CollateralError, EvidenceError
 */
export function verifyPlatformPcks(
  { body, chain }: Pick<RawDocument, 'body' | 'chain'>,
  name: PckCertificatesName | PckCertificateName,
  lists: { readonly rootCaCrl: Uint8Array; readonly pckCrl: Uint8Array },
  options: SingleDocumentOptions,
): PlatformPcks {
  const text = Buffer.from(body).toString('utf8')
  const { pems, notAvailable } =
    name.kind === 'pckCertificate' ? { pems: [text], notAvailable: [] } : readList(text)
  const verified = pems.flatMap(pem => verifiedPck(pem, chain, lists, options))
  const [first] = verified
  if (first === undefined) throw new CollateralError('FORMAT', 'no PCK certificate in force')
  for (const { extension, ca } of verified) {
    const isOne =
      sameBytes(extension.ppid, first.extension.ppid) &&
      sameBytes(extension.fmspc, first.extension.fmspc) &&
      ca === first.ca
    if (!isOne) throw new CollateralError('FORMAT', 'PCK certificates of several platforms')
    if (hex(extension.pceid) !== name.pceId) {
      throw new CollateralError('PCEID', `wanted PCEID ${name.pceId}, saw ${hex(extension.pceid)}`)
    }
  }
  return {
    certificates: verified.map(({ pem, extension }) => ({
      ...{ pem, extension },
      tcbm: tcbmOf(extension.cpusvn, extension.pcesvn),
    })),
    notAvailable,
    fmspc: hex(first.extension.fmspc),
    ppid: hex(first.extension.ppid),
    ca: first.ca,
    endsAt: new Date(Math.min(...verified.map(({ notAfter }) => notAfter.getTime()))),
  }
}

/** CPUSVN, then PCESVN in little-endian. */
export function tcbmOf(cpuSvn: Uint8Array, pceSvn: number): string {
  return hex(cpuSvn) + hex(Uint8Array.of(pceSvn & 0xff, pceSvn >> 8))
}

function verifiedPck(
  text: string,
  chain: string,
  lists: { readonly rootCaCrl: Uint8Array; readonly pckCrl: Uint8Array },
  options: SingleDocumentOptions,
): readonly (VerifiedPck & { readonly pem: string })[] {
  const [leaf, ...more] = splitPemCertificates(text)
  if (leaf === undefined || more.length > 0) {
    throw new CollateralError('FORMAT', 'wanted one PCK certificate')
  }
  const pem = encodePemCertificates(leaf)
  try {
    return [{ ...verifyPckCertificate({ ...lists, chain: pem + chain }, options), pem }]
  } catch (error) {
    if (error instanceof ChainError && isOutOfForce(leaf, lists.pckCrl, options.at)) return []
    throw error
  }
}

/** Whether a certificate by a CA that is in force is no longer to be used itself. */
function isOutOfForce(leaf: Uint8Array, pckCrl: Uint8Array, at: Date): boolean {
  const certificate = parseCertificate(leaf)
  return at > certificate.notAfter || isRevoked(parseCrl(pckCrl), certificate)
}

function readList(text: string): {
  readonly pems: readonly string[]
  readonly notAvailable: readonly UncertifiedTcb[]
} {
  const list = parseList(text)
  const isAvailable = ({ cert }: ListedPck) => cert !== 'Not available'
  return {
    pems: list.filter(isAvailable).map(({ cert }) => decoded(cert)),
    notAvailable: list.filter(one => !isAvailable(one)).map(({ tcbm }) => uncertified(tcbm)),
  }
}

interface ListedPck {
  readonly tcbm: string
  readonly cert: string
}

function parseList(text: string): readonly ListedPck[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new CollateralError('FORMAT', 'the PCK certificates are not JSON', { cause })
  }
  if (!Array.isArray(value)) throw new CollateralError('FORMAT', 'wanted a list of certificates')
  if (value.length > MOST) throw new CollateralError('LIMIT', `more than ${MOST} certificates`)
  return value.map((one: unknown) => {
    const { tcbm, cert } = { tcbm: '', cert: '', ...(one as object) }
    if (typeof cert !== 'string' || typeof tcbm !== 'string' || !/^[0-9a-fA-F]{36}$/.test(tcbm)) {
      throw new CollateralError('FORMAT', 'wanted tcbm and cert of each PCK certificate')
    }
    return { tcbm: tcbm.toUpperCase(), cert }
  })
}

function uncertified(tcbm: string): UncertifiedTcb {
  const bytes = Buffer.from(tcbm, 'hex')
  return { components: [...bytes.subarray(0, 16)], pceSvn: bytes.readUInt16LE(16), tcbm }
}

function decoded(cert: string): string {
  try {
    return decodeURIComponent(cert)
  } catch (cause) {
    throw new CollateralError('FORMAT', 'a PCK certificate is not URL-encoded', { cause })
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex').toUpperCase()
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
