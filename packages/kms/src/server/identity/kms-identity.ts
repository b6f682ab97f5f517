import 'reflect-metadata'
import { createPrivateKey, generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { encodePublicKey, kmsIdOf, parsePublicKey, tlsNameOf } from '../../protocol/public-key.ts'

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNED_WITH = { name: 'ECDSA', hash: 'SHA-256' } as const
const DAY = 24 * 60 * 60 * 1000

/** Days that the identity's own certificate lasts. */
const IDENTITY_DAYS = 7300

/** Days that a TLS certificate lasts; a running service makes a new one at half of it. */
export const TLS_DAYS = 90

/** Certificates begin a little earlier, for clients whose clocks run behind. */
const CLOCK_SKEW = 60 * 60 * 1000

/** The long-lived identity of a key service. */
export interface KmsIdentity {
  readonly kmsId: string
  /** P-256; signs tokens, statements, checkpoints and TLS certificates. */
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** SubjectPublicKeyInfo, base64url. */
  readonly identityKey: string
}

/** A certificate for TLS and its key, both PEM. The key lives in memory only. */
export interface TlsCredentials {
  readonly key: string
  readonly cert: string
}

/** Makes a new identity key and gives its PKCS#8 bytes, for the caller to seal and to zero. */
export function newIdentityKey(): Uint8Array {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }))
}

/** The identity that a PKCS#8 key is. */
export function identityFrom(pkcs8: Uint8Array): KmsIdentity {
  const privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
  const identityKey = encodePublicKey(privateKey)
  const publicKey = parsePublicKey('identity key', identityKey)
  return { kmsId: kmsIdOf(identityKey), privateKey, publicKey, identityKey }
}

/** Issues the identity's own certificate: a certificate authority for one name. */
export async function issueIdentityCertificate(identity: KmsIdentity, at: Date): Promise<string> {
  const keys = await signingKeys(identity.privateKey)
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: issuerName(identity),
    notBefore: new Date(at.getTime() - CLOCK_SKEW),
    notAfter: new Date(at.getTime() + IDENTITY_DAYS * DAY),
    signingAlgorithm: SIGNED_WITH,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.digitalSignature, true),
    ],
  })
  return certificate.toString('pem')
}

/** Issues a TLS certificate under the identity, for a key of its own. */
export async function issueTlsCredentials(
  identity: KmsIdentity,
  at: Date,
): Promise<TlsCredentials> {
  const { privateKey: signingKey } = await signingKeys(identity.privateKey)
  const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const name = tlsNameOf(identity.kmsId)
  const certificate = await X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: `CN=${name}`,
    issuer: issuerName(identity),
    notBefore: new Date(at.getTime() - CLOCK_SKEW),
    notAfter: new Date(at.getTime() + TLS_DAYS * DAY),
    signingAlgorithm: SIGNED_WITH,
    publicKey: await importPublic(leaf.publicKey),
    signingKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
    ],
  })
  return {
    key: leaf.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    cert: certificate.toString('pem'),
  }
}

function issuerName(identity: KmsIdentity): string {
  // A common name has at most 64 characters (RFC 5280, ub-common-name).
  return `CN=Cloister key service ${identity.kmsId.slice(0, 32)}`
}

function newSerial(): string {
  // Positive, and not zero-led, as RFC 5280 section 4.1.2.2 wants it.
  const bytes = webcrypto.getRandomValues(new Uint8Array(16))
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return Buffer.from(bytes).toString('hex')
}

async function importPublic(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const spki = key.export({ format: 'der', type: 'spki' })
  return await webcrypto.subtle.importKey('spki', spki, ECDSA, true, ['verify'])
}

async function signingKeys(privateKey: KeyObject): Promise<webcrypto.CryptoKeyPair> {
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' })
  const publicKey = Buffer.from(encodePublicKey(privateKey), 'base64url')
  try {
    return {
      privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, ECDSA, false, ['sign']),
      publicKey: await webcrypto.subtle.importKey('spki', publicKey, ECDSA, true, ['verify']),
    }
  } finally {
    pkcs8.fill(0)
  }
}
