import {
  type Extension,
  type Name,
  readAlgorithm,
  readExplicit,
  readExtensions,
  readName,
  readSerial,
  readSigned,
} from './certificate.ts'
import {
  DerError,
  DerFields,
  MAX_CRL_BYTES,
  parseDer,
  readSmallInteger,
  readTime,
  TAG,
} from './der.ts'

/** Extensions of delta lists and of partitioned or indirect ones. @see RFC 5280 section 5.2 */
const PARTS: readonly string[] = ['2.5.29.27', '2.5.29.28']

/** A parsed certificate revocation list. Nothing here is verified; see `verifyCrl`. */
export interface CertificateRevocationList {
  /** The signed part. */
  readonly tbs: Uint8Array
  /** OID of the signature algorithm. */
  readonly signatureAlgorithm: string
  readonly signature: Uint8Array
  readonly issuer: Name
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  /** Revocation dates by serial (hex, as in `Certificate.serial`). */
  readonly revoked: ReadonlyMap<string, Date>
}

/**
 * Parses a complete version 2 CRL. Indirect, delta and partitioned lists are refused; every listed
 * serial counts as revoked whatever its reason.
 *
 * @param der - The list in DER, at most 1 MiB.
 * @throws DerError when it is malformed or of another kind, or has no `nextUpdate`.
 */
export function parseCrl(der: Uint8Array): CertificateRevocationList {
  const root = parseDer(der, MAX_CRL_BYTES)
  const signed = readSigned(root, 'CRL')
  const fields = new DerFields(signed.tbs, TAG.sequence, 'CRL body')
  if (readSmallInteger(fields.take(TAG.integer), 1) !== 1) {
    throw new DerError('VALUE', 'CRL is not version 2')
  }
  const signatureAlgorithm = readAlgorithm(fields.take(TAG.sequence), signed.algorithm)
  const issuer = readName(fields.take(TAG.sequence))
  const thisUpdate = readTime(fields.take())
  const next = fields.optional(TAG.utcTime, TAG.generalizedTime)
  if (next === undefined) throw new DerError('VALUE', 'CRL has no nextUpdate')
  const nextUpdate = readTime(next)
  const revoked = new Map<string, Date>()
  for (const child of fields.optional(TAG.sequence)?.children ?? []) {
    const entry = new DerFields(child, TAG.sequence, 'revoked entry')
    const serial = readSerial(entry.take(TAG.integer))
    const date = readTime(entry.take())
    const extensions = entry.optional(TAG.sequence)
    entry.done()
    if (extensions !== undefined) readExtensions(extensions, [])
    if (revoked.has(serial)) throw new DerError('VALUE', `serial ${serial} is listed twice`)
    revoked.set(serial, date)
  }
  const wrapped = fields.optional(0xa0)
  fields.done()
  if (wrapped !== undefined) requireWhole(readExtensions(readExplicit(wrapped), []))
  return {
    tbs: signed.tbs.raw,
    signatureAlgorithm,
    signature: signed.signature,
    issuer,
    thisUpdate,
    nextUpdate,
    revoked,
  }
}

/** A list that says it is a part of one may well not say so as a critical extension. */
function requireWhole(extensions: readonly Extension[]): void {
  const part = extensions.find(({ oid }) => PARTS.includes(oid))
  if (part !== undefined) throw new DerError('VALUE', `CRL is a part of one (${part.oid})`)
}
