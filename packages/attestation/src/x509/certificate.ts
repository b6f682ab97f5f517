import { hexOf } from '../bytes/text.ts'
import {
  DerError,
  DerFields,
  type DerNode,
  expectTag,
  parseDer,
  readBitString,
  readBoolean,
  readIntegerBytes,
  readOctets,
  readOid,
  readSmallInteger,
  readTime,
  sameBytes,
  TAG,
} from './der.ts'
import { RSASSA_PSS, requirePss384 } from './pss.ts'

/** OID of ECDSA with SHA-256: Intel's certificates. */
export const ECDSA_SHA256 = '1.2.840.10045.4.3.2'

const COMMON_NAME = '2.5.4.3'
const KEY_USAGE = '2.5.29.15'
const BASIC_CONSTRAINTS = '2.5.29.19'
const MAX_SERIAL_BYTES = 20

const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

/** One bit of the key usage extension. */
export type KeyUsage = (typeof KEY_USAGES)[number]

/** One X.509 extension; `value` is the contents of its OCTET STRING. */
export interface Extension {
  readonly oid: string
  readonly critical: boolean
  readonly value: Uint8Array
}

/** A distinguished name: its exact bytes and, if it has one, its common name. */
export interface Name {
  readonly raw: Uint8Array
  readonly commonName?: string
}

/** A parsed certificate. Nothing here is verified; see `verifyChain`. */
export interface Certificate {
  /** The whole certificate. */
  readonly raw: Uint8Array
  /** The signed part, a view of `raw`. */
  readonly tbs: Uint8Array
  /** OID of the signature algorithm, the same inside and outside the signed part. */
  readonly signatureAlgorithm: string
  readonly signature: Uint8Array
  /** Contents of the serial INTEGER in lowercase hex; minimal, so equal means equal. */
  readonly serial: string
  readonly issuer: Name
  readonly subject: Name
  readonly notBefore: Date
  readonly notAfter: Date
  /** The SubjectPublicKeyInfo, whole, in DER. */
  readonly spki: Uint8Array
  readonly isCa: boolean
  /** Path length of a CA; absent means no limit. */
  readonly pathLen?: number
  /** Absent when the certificate has no key usage extension. */
  readonly keyUsage?: ReadonlySet<KeyUsage>
  readonly extensions: readonly Extension[]
}

/** The parts every signed X.509 object has. */
export interface SignedObject {
  readonly tbs: DerNode
  readonly algorithm: DerNode
  readonly signature: Uint8Array
}

/** Splits SEQUENCE { tbs, AlgorithmIdentifier, BIT STRING }. */
export function readSigned(node: DerNode, what: string): SignedObject {
  const fields = new DerFields(node, TAG.sequence, what)
  const tbs = fields.take(TAG.sequence)
  const algorithm = fields.take(TAG.sequence)
  const { unusedBits, bytes } = readBitString(fields.take(TAG.bitString))
  fields.done()
  if (unusedBits !== 0) throw new DerError('VALUE', `signature of ${what} is not whole bytes`)
  return { tbs, algorithm, signature: bytes }
}

/**
 * Reads an AlgorithmIdentifier that must equal the one outside the signed part.
 * @param mayHaveNull - Whether NULL may follow the OID of ECDSA, against RFC 5758 section 3.2.
 */
export function readAlgorithm(inner: DerNode, outer: DerNode, mayHaveNull = false): string {
  if (!sameBytes(inner.raw, outer.raw)) {
    throw new DerError('VALUE', 'the inner and outer signature algorithms differ')
  }
  const fields = new DerFields(inner, TAG.sequence, 'algorithm')
  const oid = readOid(fields.take(TAG.oid))
  if (oid === RSASSA_PSS) requirePss384(fields.take(TAG.sequence))
  if (oid === ECDSA_SHA256 && mayHaveNull && (fields.optional(TAG.null)?.value.length ?? 0) > 0) {
    throw new DerError('VALUE', 'NULL has contents')
  }
  if (oid === ECDSA_SHA256 || oid === RSASSA_PSS) fields.done()
  return oid
}

/** Reads a Name. */
export function readName(node: DerNode): Name {
  let commonName: string | undefined
  for (const set of expectTag(node, TAG.sequence, 'name').children) {
    const members = expectTag(set, TAG.set, 'relative name').children
    if (members.length === 0) throw new DerError('VALUE', 'relative name is empty')
    for (const member of members) {
      const fields = new DerFields(member, TAG.sequence, 'name attribute')
      const oid = readOid(fields.take(TAG.oid))
      const value = fields.take()
      fields.done()
      if (oid !== COMMON_NAME) continue
      if (commonName !== undefined) throw new DerError('VALUE', 'name has two common names')
      commonName = readText(value)
    }
  }
  return { raw: node.raw, ...(commonName === undefined ? {} : { commonName }) }
}

function readText(node: DerNode): string {
  if (node.tag !== TAG.utf8String && node.tag !== TAG.printableString) {
    throw new DerError('TAG', 'common name is neither a UTF8String nor a PrintableString')
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(node.value)
  } catch (cause) {
    throw new DerError('VALUE', 'common name is not UTF-8', { cause })
  }
}

/** Reads Extensions; duplicates and critical ones outside `understood` are refused. */
export function readExtensions(node: DerNode, understood: readonly string[]): Extension[] {
  const extensions: Extension[] = []
  const seen = new Set<string>()
  for (const child of expectTag(node, TAG.sequence, 'extensions').children) {
    const fields = new DerFields(child, TAG.sequence, 'extension')
    const oid = readOid(fields.take(TAG.oid))
    const critical = readDefaultFalse(fields)
    const value = readOctets(fields.take(TAG.octetString))
    fields.done()
    if (seen.has(oid)) throw new DerError('VALUE', `extension ${oid} is there twice`)
    if (critical && !understood.includes(oid)) {
      throw new DerError('VALUE', `critical extension ${oid} is not understood`)
    }
    seen.add(oid)
    extensions.push({ oid, critical, value })
  }
  if (extensions.length === 0) throw new DerError('VALUE', 'the extensions are empty')
  return extensions
}

/** An optional BOOLEAN DEFAULT FALSE, which DER writes only when it is true. */
function readDefaultFalse(fields: DerFields): boolean {
  const node = fields.optional(TAG.boolean)
  if (node === undefined) return false
  if (!readBoolean(node)) throw new DerError('VALUE', 'a default FALSE is written out')
  return true
}

/** A certificate's or revoked entry's serial number as hex. */
export function readSerial(node: DerNode): string {
  const bytes = readIntegerBytes(node)
  if (bytes.length > MAX_SERIAL_BYTES + 1) throw new DerError('LIMIT', 'serial is too long')
  return hexOf(bytes)
}

/** The only element of an explicitly tagged one. */
export function readExplicit(node: DerNode): DerNode {
  const [child] = node.children
  if (child === undefined || node.children.length !== 1) {
    throw new DerError('VALUE', 'explicit tag does not hold one element')
  }
  return child
}

/**
 * Parses an X.509 version 3 certificate of the subset that Intel's SGX and AMD's SEV profiles use.
 *
 * @param der - The certificate in DER, at most 64 KiB.
 * @throws DerError when it is malformed, has a duplicate extension or a critical unknown one.
 */
export function parseCertificate(der: Uint8Array): Certificate {
  return readCertificate(der, false)
}

/**
 * Parses a certificate as {@link parseCertificate} does, but lets NULL follow the OID of ECDSA,
 * against RFC 5758 section 3.2: the RA-TLS certificates of Gramine and Open Enclave have it.
 * @param der - The certificate in DER, at most 64 KiB.
 * @throws DerError
 */
export function parseRaTlsCertificate(der: Uint8Array): Certificate {
  return readCertificate(der, true)
}

function readCertificate(der: Uint8Array, mayHaveNull: boolean): Certificate {
  const root = parseDer(der)
  const signed = readSigned(root, 'certificate')
  const fields = new DerFields(signed.tbs, TAG.sequence, 'certificate body')
  if (readSmallInteger(readExplicit(fields.take(0xa0)), 2) !== 2) {
    throw new DerError('VALUE', 'certificate is not version 3')
  }
  const serial = readSerial(fields.take(TAG.integer))
  const signatureAlgorithm = readAlgorithm(fields.take(TAG.sequence), signed.algorithm, mayHaveNull)
  const issuer = readName(fields.take(TAG.sequence))
  const validity = new DerFields(fields.take(TAG.sequence), TAG.sequence, 'validity')
  const notBefore = readTime(validity.take())
  const notAfter = readTime(validity.take())
  validity.done()
  const subject = readName(fields.take(TAG.sequence))
  const spki = readSpki(fields.take(TAG.sequence))
  const wrapped = fields.optional(0xa3)
  fields.done()
  const extensions =
    wrapped === undefined
      ? []
      : readExtensions(readExplicit(wrapped), [BASIC_CONSTRAINTS, KEY_USAGE])
  const constraints = extensions.find(({ oid }) => oid === BASIC_CONSTRAINTS)
  const usage = extensions.find(({ oid }) => oid === KEY_USAGE)
  return {
    raw: root.raw,
    tbs: signed.tbs.raw,
    signatureAlgorithm,
    signature: signed.signature,
    serial,
    issuer,
    subject,
    notBefore,
    notAfter,
    spki,
    ...(constraints === undefined ? { isCa: false } : readBasicConstraints(constraints.value)),
    ...(usage === undefined ? {} : { keyUsage: readKeyUsage(usage.value) }),
    extensions,
  }
}

function readSpki(node: DerNode): Uint8Array {
  const fields = new DerFields(node, TAG.sequence, 'public key')
  readOid(new DerFields(fields.take(TAG.sequence), TAG.sequence, 'key algorithm').take(TAG.oid))
  readBitString(fields.take(TAG.bitString))
  fields.done()
  return node.raw
}

function readBasicConstraints(value: Uint8Array): { isCa: boolean; pathLen?: number } {
  const fields = new DerFields(parseDer(value), TAG.sequence, 'basic constraints')
  const isCa = readDefaultFalse(fields)
  const length = fields.optional(TAG.integer)
  fields.done()
  if (length === undefined) return { isCa }
  if (!isCa) throw new DerError('VALUE', 'a path length without the CA flag')
  return { isCa, pathLen: readSmallInteger(length, 255) }
}

/** AMD writes trailing zero bits, which DER would leave out; they say nothing. */
function readKeyUsage(value: Uint8Array): ReadonlySet<KeyUsage> {
  const { bytes } = readBitString(parseDer(value))
  const usages = KEY_USAGES.filter((_, i) => ((bytes[i >> 3] ?? 0) & (0x80 >> (i & 7))) !== 0)
  if (usages.length === 0) throw new DerError('VALUE', 'key usage is empty')
  // Nine bits have a meaning.
  if (((bytes[1] ?? 0) & 0x7f) !== 0 || bytes.subarray(2).some(byte => byte !== 0)) {
    throw new DerError('VALUE', 'key usage has an unknown bit')
  }
  return new Set(usages)
}
