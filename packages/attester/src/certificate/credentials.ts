import { isSnpReport } from '@cloister/attestation'
import 'reflect-metadata'
import { createHash, createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import {
  BasicConstraintsExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { AttestedCertificateError } from '../errors.ts'
import { REPORT_DATA_BYTES } from '../evidence.ts'
import type { QuoteSource } from '../quote-source/quote-source.ts'
import {
  encodeConceptualMessage,
  encodeKeyClaims,
  INTEROPERABLE_OID,
} from './conceptual-message.ts'

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNED_WITH = { name: 'ECDSA', hash: 'SHA-256' } as const
const DAY = 24 * 60 * 60 * 1000

/** A certificate for TLS and its key, both PEM. The key was made here and is nowhere else. */
export interface TlsCredentials {
  readonly key: string
  readonly cert: string
}

/** Options of {@link issueTlsCredentials}. */
export interface TlsCredentialsOptions {
  /** Name in the certificate, for people; nothing is decided by it. */
  readonly commonName: string
  readonly notBefore: Date
  readonly validForDays: number
  /** DNS names and IP addresses that clients may reach the server by; none unless told. */
  readonly hosts?: readonly string[]
}

/** Options of {@link issueAttestedCredentials}. */
export interface AttestedCredentialsOptions extends TlsCredentialsOptions {
  readonly source: QuoteSource
}

/** Makes a P-256 key and a self-signed certificate for it, without evidence: for fresh mode. */
export async function issueTlsCredentials(options: TlsCredentialsOptions): Promise<TlsCredentials> {
  return issue(options, () => Promise.resolve([]))
}

/**
 * Makes a P-256 key and a self-signed certificate for it with evidence about the key, in the
 * interoperable form.
 * @throws QuoteSourceError
 * @throws AttestedCertificateError EVIDENCE when the platform is SEV-SNP, for which there is no form
 */
export async function issueAttestedCredentials(
  options: AttestedCredentialsOptions,
): Promise<TlsCredentials> {
  return issue(options, async spki => {
    const claims = encodeKeyClaims(spki)
    const reportData = new Uint8Array(REPORT_DATA_BYTES)
    reportData.set(createHash('sha256').update(claims).digest())
    const { evidence: quote } = await options.source.quote(reportData)
    if (isSnpReport(quote)) {
      throw new AttestedCertificateError(
        'EVIDENCE',
        'the interoperable form has no place for SEV-SNP reports: use fresh mode',
      )
    }
    const value = encodeConceptualMessage({ quote, claims })
    return [new Extension(INTEROPERABLE_OID, false, Uint8Array.from(value))]
  })
}

async function issue(
  { commonName, notBefore, validForDays, hosts = [] }: TlsCredentialsOptions,
  evidenceFor: (spki: Uint8Array) => Promise<readonly Extension[]>,
): Promise<TlsCredentials> {
  const { subtle } = webcrypto
  const keys = await subtle.generateKey(ECDSA, true, ['sign', 'verify'])
  const spki = new Uint8Array(await subtle.exportKey('spki', keys.publicKey))
  const pkcs8 = Buffer.from(await subtle.exportKey('pkcs8', keys.privateKey))
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ CN: [commonName] }],
    notBefore,
    notAfter: new Date(notBefore.getTime() + validForDays * DAY),
    signingAlgorithm: SIGNED_WITH,
    keys,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      ...(hosts.length === 0 ? [] : [new SubjectAlternativeNameExtension(hosts.map(nameOf))]),
      ...(await evidenceFor(spki)),
    ],
  })
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  pkcs8.fill(0)
  return {
    key: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    cert: certificate.toString('pem'),
  }
}

function nameOf(host: string): { readonly type: 'dns' | 'ip'; readonly value: string } {
  return { type: isIP(host) === 0 ? 'dns' : 'ip', value: host }
}

/** Positive, 16 bytes, the first of them not zero. */
function newSerial(): string {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial.toString('hex')
}
