import {
  constants,
  createHash,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { ECDSA_SHA256 } from '../x509/certificate.ts'
import { DerFields, parseDer, readBitString, TAG } from '../x509/der.ts'
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  namedBits,
  octetString,
  oid,
  sequence,
  setOfOne,
  time,
  utf8String,
} from '../x509/der-writer.ts'
import { RSASSA_PSS } from '../x509/pss.ts'

const ORGANIZATION = 'Cloister simulated TEE'

/** Who signs: a name and its private key, of P-256 or RSA. */
interface Issuer {
  readonly commonName: string
  readonly key: KeyObject
}

/** An extension, encoded; not critical unless told. */
interface FurtherExtension {
  readonly oid: string
  readonly value: Uint8Array
  readonly critical?: boolean
}

/** What a certificate is to say. */
export interface CertificateFields {
  readonly issuer: Issuer
  readonly commonName: string
  /** Public or private key of the subject. */
  readonly key: KeyObject
  readonly notBefore: Date
  readonly notAfter: Date
  /** How many CAs may stand below this one; absent for one that is no CA. */
  readonly pathLen?: number
  /** False for one that does not say what its key is for. */
  readonly keyUsage?: false
  readonly extensions?: readonly FurtherExtension[]
}

/** What a revocation list is to say. */
export interface CrlFields {
  readonly issuer: Issuer
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  /** Serial numbers as `Certificate.serial` has them, in hex. */
  readonly revoked: readonly string[]
  readonly extensions?: readonly FurtherExtension[]
}

/**
 * Issues an X.509 v3 certificate with a fresh serial, in DER: signed with ECDSA P-256 as Intel's, or
 * by an RSA key with RSASSA-PSS and SHA-384 as AMD's.
 */
export function issueCertificate(fields: CertificateFields): Uint8Array {
  const { issuer, pathLen } = fields
  const constraints = pathLen === undefined ? [] : [boolean(true), integer(pathLen)]
  // digitalSignature and nonRepudiation, or keyCertSign and cRLSign.
  const usage = pathLen === undefined ? namedBits(0, 1) : namedBits(5, 6)
  return signed(
    issuer.key,
    sequence(
      explicit(0, integer(2)),
      integer(freshSerial()),
      algorithmOf(issuer.key),
      name(issuer.commonName),
      sequence(time(fields.notBefore), time(fields.notAfter)),
      name(fields.commonName),
      spkiOf(fields.key),
      explicit(
        3,
        sequence(
          extension('2.5.29.35', sequence(implicit(0, keyId(issuer.key)))),
          extension('2.5.29.14', octetString(keyId(fields.key))),
          ...(fields.keyUsage === false ? [] : [extension('2.5.29.15', usage, boolean(true))]),
          extension('2.5.29.19', sequence(...constraints), boolean(true)),
          ...further(fields.extensions),
        ),
      ),
    ),
  )
}

/** Issues a complete version 2 CRL, in DER. */
export function issueCrl(fields: CrlFields): Uint8Array {
  const { issuer, thisUpdate, nextUpdate, revoked } = fields
  const entries = revoked.map(serial =>
    sequence(integer(Buffer.from(serial, 'hex')), time(thisUpdate)),
  )
  // CRL numbers must rise from list to list: the second of issue does.
  const number = Math.floor(thisUpdate.getTime() / 1000)
  return signed(
    issuer.key,
    sequence(
      integer(1),
      algorithmOf(issuer.key),
      name(issuer.commonName),
      time(thisUpdate),
      time(nextUpdate),
      ...(entries.length === 0 ? [] : [sequence(...entries)]),
      explicit(
        0,
        sequence(
          extension('2.5.29.35', sequence(implicit(0, keyId(issuer.key)))),
          extension('2.5.29.20', integer(number)),
          ...further(fields.extensions),
        ),
      ),
    ),
  )
}

/** SubjectPublicKeyInfo, DER, of a public or private key. */
export function spkiOf(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))
}

const ES256 = sequence(oid(ECDSA_SHA256))
const SHA384 = sequence(oid('2.16.840.1.101.3.4.2.2'))
const PS384 = sequence(
  oid(RSASSA_PSS),
  sequence(
    explicit(0, SHA384),
    explicit(1, sequence(oid('1.2.840.113549.1.1.8'), SHA384)),
    explicit(2, integer(48)),
  ),
)
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }

function algorithmOf(key: KeyObject): Uint8Array {
  return key.asymmetricKeyType === 'rsa' ? PS384 : ES256
}

function signed(key: KeyObject, tbs: Uint8Array): Uint8Array {
  const signature =
    key.asymmetricKeyType === 'rsa'
      ? sign('sha384', tbs, { key, ...PSS })
      : sign('sha256', tbs, { key, dsaEncoding: 'der' })
  return sequence(tbs, algorithmOf(key), bitString(signature))
}

function name(commonName: string): Uint8Array {
  return sequence(
    setOfOne(sequence(oid('2.5.4.10'), utf8String(ORGANIZATION))),
    setOfOne(sequence(oid('2.5.4.3'), utf8String(commonName))),
  )
}

function extension(id: string, value: Uint8Array, ...critical: readonly Uint8Array[]): Uint8Array {
  return sequence(oid(id), ...critical, octetString(value))
}

function further(extensions: readonly FurtherExtension[] = []): readonly Uint8Array[] {
  return extensions.map(({ oid: id, value, critical }) =>
    extension(id, value, ...(critical === true ? [boolean(true)] : [])),
  )
}

/** Positive, 20 bytes, the first of them not zero. */
function freshSerial(): Uint8Array {
  const serial = new Uint8Array(randomBytes(20))
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial
}

/** Leftmost 160 bits of the SHA-256 of the public key's bits. @see RFC 7093 section 2, method 1 */
function keyId(key: KeyObject): Uint8Array {
  const spki = new DerFields(parseDer(spkiOf(key)), TAG.sequence, 'public key')
  spki.take(TAG.sequence)
  const { bytes } = readBitString(spki.take(TAG.bitString))
  return createHash('sha256').update(bytes).digest().subarray(0, 20)
}
