import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import type { TrustedAppraisal } from '@cloister/attestation'
import type { PeerRequirements } from '../appraise-peer.ts'
import type { TlsCredentials } from '../certificate/credentials.ts'
import { AttestedTlsError } from '../errors.ts'
import type { QuoteSource } from '../quote-source/quote-source.ts'
import { appraiseCertificate } from './certificate-peer.ts'
import { endWithAppraisal } from './end-with-appraisal.ts'
import { type ClientSide, exchangeAsClient } from './exchange-as-client.ts'
import { FRESH_PROTOCOL } from './frames.ts'
import { inTime } from './in-time.ts'
import { assertKeyIsPinned } from './pinned-key.ts'

/** Milliseconds until a connection must stand, evidence and all. */
const TIMEOUT_MS = 10_000

/** Where a connection leads, and how long it may take to stand. */
export interface ConnectOptions {
  readonly host: string
  readonly port: number
  /** Milliseconds for all of it, collateral and quotes too; 10 s unless told. */
  readonly timeoutMs?: number
}

/** A client of fresh mode: evidence is about this very connection. */
export interface FreshClient {
  readonly mode?: 'fresh'
  /**
   * Where own evidence comes from. It is given to a server that demands it, and not before the
   * server was believed.
   */
  readonly source?: QuoteSource
  /** A certificate for the server to know the client by, which own evidence is bound to as well. */
  readonly credentials?: TlsCredentials
}

/**
 * A client of certificate mode: evidence is in the certificates, which says that their keys were
 * made there, and not when.
 */
export interface CertificateClient {
  readonly mode: 'certificate'
  /**
   * A certificate with own evidence. TLS shows it to any server that asks for one, before there is
   * anything to believe that server by.
   */
  readonly credentials?: TlsCredentials
}

/** Options of each connection of {@link connectAttested}, but where it leads. */
export type AttestedConnectionOptions = PeerRequirements &
  Pick<ConnectOptions, 'timeoutMs'> &
  (FreshClient | CertificateClient)

/** Options of {@link connectAttested}. */
export type ConnectAttestedOptions = ConnectOptions & AttestedConnectionOptions

/** A connection to a workload that was appraised as trusted. */
export interface AttestedConnection {
  readonly socket: TLSSocket
  readonly appraisal: TrustedAppraisal
}

/**
 * Connects with TLS 1.3 and gives the connection once the other side's evidence is about it,
 * verifies and meets the policy, and own evidence was accepted if it was demanded. Until then not
 * one byte of the caller's is sent. Names in certificates decide nothing: the evidence does. The
 * connection is destroyed, `EXPIRED`, when what the other side was appraised with ends.
 * @throws AttestedTlsError
 */
export async function connectAttested(
  options: ConnectAttestedOptions,
): Promise<AttestedConnection> {
  return await connected(options, options, async (socket, certificate, deadline) => {
    const appraisal =
      options.mode === 'certificate'
        ? await inTime(appraiseCertificate(certificate, options), deadline)
        : await exchangeAsClient(socket, sideOf(socket, certificate, options, options), deadline)
    // Evidence was demanded, so that there is an appraisal.
    if (appraisal === undefined) throw new AttestedTlsError('EVIDENCE', 'nothing was proved')
    endWithAppraisal(socket, appraisal, options.now)
    return { socket, appraisal }
  })
}

/** Options of {@link connectPinned}. */
export interface ConnectPinnedOptions extends ConnectOptions {
  /** SHA-256 over the SubjectPublicKeyInfo of each server that is meant, 32 bytes each. */
  readonly serverKeys: readonly Uint8Array[]
  readonly source: QuoteSource
  /** As in {@link FreshClient}. */
  readonly credentials?: TlsCredentials
}

/**
 * Connects with TLS 1.3 to a server that gives no evidence and is known by its key, and gives it
 * own evidence about the connection.
 * @throws AttestedTlsError
 */
export async function connectPinned(options: ConnectPinnedOptions): Promise<TLSSocket> {
  return await connected(options, options, async (socket, certificate, deadline) => {
    assertKeyIsPinned(certificate, options.serverKeys)
    await exchangeAsClient(socket, sideOf(socket, certificate, 'nothing', options), deadline)
    return socket
  })
}

function sideOf(
  socket: TLSSocket,
  certificate: X509Certificate,
  server: PeerRequirements | 'nothing',
  { source }: Pick<FreshClient, 'source'>,
): ClientSide {
  const leaves = { server: certificate.raw, client: socket.getX509Certificate()?.raw }
  return { server, source, leaves }
}

/** Makes a handshake and goes on with it; the connection ends with any error. */
async function connected<T>(
  { host, port, timeoutMs = TIMEOUT_MS }: ConnectOptions,
  { mode = 'fresh', credentials }: FreshClient | CertificateClient,
  goOn: (socket: TLSSocket, certificate: X509Certificate, deadline: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = AbortSignal.timeout(timeoutMs)
  const socket = connect({
    host,
    port,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...credentials,
    minVersion: 'TLSv1.3',
    // The certificate is self-signed: the evidence is what is believed, and it is bound to it.
    rejectUnauthorized: false,
    ...(mode === 'fresh' ? { ALPNProtocols: [FRESH_PROTOCOL] } : {}),
  })
  // What breaks later is seen where it is waited for.
  socket.on('error', () => {})
  try {
    await handshake(socket, deadline)
    return await goOn(socket, certificateOf(socket, mode), deadline)
  } catch (error) {
    socket.destroy()
    throw error
  }
}

async function handshake(socket: TLSSocket, deadline: AbortSignal): Promise<void> {
  let isConnected = false
  socket.once('connect', () => {
    isConnected = true
  })
  const done = new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the connection was closed')))
  })
  try {
    await inTime(done, deadline)
  } catch (cause) {
    if (cause instanceof AttestedTlsError) throw cause
    const why = cause instanceof Error ? cause.message : ''
    throw isConnected
      ? new AttestedTlsError('TLS', `no handshake as demanded: ${why}`, { cause })
      : new AttestedTlsError('UNREACHABLE', `no connection: ${why}`, { cause })
  }
}

function certificateOf(socket: TLSSocket, mode: 'fresh' | 'certificate'): X509Certificate {
  const certificate = socket.getPeerX509Certificate()
  if (socket.getProtocol() !== 'TLSv1.3' || socket.isSessionReused() || certificate === undefined) {
    throw new AttestedTlsError('TLS', 'wanted a full handshake of TLS 1.3 with a certificate')
  }
  if (mode === 'fresh' && socket.alpnProtocol !== FRESH_PROTOCOL) {
    throw new AttestedTlsError('TLS', `the server does not speak ${FRESH_PROTOCOL}`)
  }
  return certificate
}
