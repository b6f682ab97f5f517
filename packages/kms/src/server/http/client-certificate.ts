import 'reflect-metadata'
import { X509Certificate } from 'node:crypto'
import { type SecureContextOptions, TLSSocket } from 'node:tls'
import { SubjectAlternativeNameExtension, X509Certificate as SubjectNames } from '@peculiar/x509'
import type { FastifyRequest } from 'fastify'
import { certificateKeyMatch, certificateNameMatch } from '../../protocol/client-certificate.ts'
import { KmsError } from '../../protocol/errors.ts'
import type { PresentedCertificate } from '../accounts/index.ts'
import type { TlsCredentials } from '../identity/kms-identity.ts'

/** What is read of a connection's client certificate, once. */
interface ClientCertificate {
  readonly matches: readonly string[]
  readonly from: number
  readonly to: number
}

const NAME_TYPES = { dns: 'dns', email: 'email', url: 'uri' } as const

const MAX_NAMES = 16

const seen = new WeakMap<TLSSocket, ClientCertificate | null>()

/** Reads the certificates of CAs. @throws KmsError MALFORMED */
export function parseClientCas(pems: readonly string[]): readonly X509Certificate[] {
  return pems.map(pem => {
    try {
      const certificate = new X509Certificate(pem)
      if (certificate.ca) return certificate
    } catch (cause) {
      throw new KmsError('MALFORMED', 'a client CA is no certificate in PEM', { cause })
    }
    throw new KmsError('MALFORMED', 'a client CA’s certificate is not one of a CA')
  })
}

/** What the server's TLS is made of; client certificates verify up to the named CAs, and no others. */
export function secureContextOf(
  tls: TlsCredentials,
  clientCas: readonly X509Certificate[],
): SecureContextOptions {
  return {
    ...tls,
    minVersion: 'TLSv1.3',
    ca: clientCas.map(ca => ca.toString()),
    // The CA that issues may be an intermediate one, named without its root.
    allowPartialTrustChain: true,
  }
}

/**
 * What the client certificate of a request's connection stands for at an instant; undefined where
 * there is none that is valid then. TLS has proven that the client holds its key.
 */
export function presentedCertificate(
  request: FastifyRequest,
  clientCas: readonly X509Certificate[],
  at: Date,
): PresentedCertificate | undefined {
  const { socket } = request.raw
  if (!(socket instanceof TLSSocket)) return undefined
  const known = seen.get(socket)
  const certificate = known === undefined ? certificateOf(socket, clientCas) : known
  seen.set(socket, certificate)
  if (certificate === null) return undefined
  const now = at.getTime()
  return now >= certificate.from && now <= certificate.to ? certificate : undefined
}

function certificateOf(
  socket: TLSSocket,
  clientCas: readonly X509Certificate[],
): ClientCertificate | null {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return null
  const key = { from: Date.parse(certificate.validFrom), to: Date.parse(certificate.validTo) }
  const byKey = { ...key, matches: [certificateKeyMatch(certificate)] }
  // OpenSSL's verdict on the whole chain, purpose and all; then by which of the CAs it was issued.
  const ca = socket.authorized ? issuerOf(certificate, clientCas) : undefined
  if (ca === undefined) return byKey
  return {
    matches: [
      ...byKey.matches,
      ...namesOf(certificate).map(([type, name]) => certificateNameMatch(ca, type, name)),
    ],
    from: Math.max(key.from, Date.parse(ca.validFrom)),
    to: Math.min(key.to, Date.parse(ca.validTo)),
  }
}

function issuerOf(
  certificate: X509Certificate,
  clientCas: readonly X509Certificate[],
): X509Certificate | undefined {
  return clientCas.find(ca => certificate.checkIssued(ca) && certificate.verify(ca.publicKey))
}

function namesOf(certificate: X509Certificate) {
  const extension = new SubjectNames(certificate.raw).getExtension(SubjectAlternativeNameExtension)
  return (extension?.names.items ?? []).slice(0, MAX_NAMES).flatMap(({ type, value }) => {
    const known =
      type === 'dns' || type === 'email' || type === 'url' ? NAME_TYPES[type] : undefined
    return known === undefined ? [] : [[known, value] as const]
  })
}
