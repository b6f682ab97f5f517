import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { TrustedAppraisal } from '@cloister/attestation'
import type { PeerRequirements } from '../appraise-peer.ts'
import type { TlsCredentials } from '../certificate/credentials.ts'
import { AttestedTlsError } from '../errors.ts'
import type { QuoteSource } from '../quote-source/quote-source.ts'
import { appraiseCertificate } from './certificate-peer.ts'
import { endWithAppraisal } from './end-with-appraisal.ts'
import { exchangeAsServer } from './exchange-as-server.ts'
import { FRESH_PROTOCOL } from './frames.ts'
import { inTime } from './in-time.ts'

/** Milliseconds that a client has for each step. */
const TIMEOUT_MS = 10_000

/** Who may come: whoever connects, or who proves what is required. */
export type Clients = PeerRequirements | 'anyone'

/** A server of fresh mode, whose certificate needs no evidence in it. */
export interface FreshServer<C extends Clients> {
  readonly mode?: 'fresh'
  /** Where own evidence comes from; a server that demands evidence need not have any itself. */
  readonly source: QuoteSource | (C extends PeerRequirements ? 'none' : never)
}

/** A server of certificate mode, whose own evidence, if it has any, is in its certificate. */
export interface CertificateServer {
  readonly mode: 'certificate'
}

/** Options of {@link createAttestedServer}. */
export type AttestedServerOptions<C extends Clients> = {
  readonly credentials: TlsCredentials
  readonly clients: C
  /** Milliseconds for the handshake, for the hello, and for the client's proof; 10 s unless told. */
  readonly timeoutMs?: number
  /** Told why a connection was dropped before it reached the listener. */
  readonly onFailure?: (error: unknown) => void
} & (FreshServer<C> | CertificateServer)

/** Given each connection, with its client's appraisal where clients are appraised. */
export type AttestedListener<C extends Clients> = (
  socket: TLSSocket,
  appraisal: C extends PeerRequirements ? TrustedAppraisal : undefined,
) => void

/**
 * A server with TLS 1.3 alone. Each connection is given to `listener` once the client has evidence
 * about it, if it wants any, and was appraised as trusted, if it must be; the listener may hand it
 * on: `socket => httpServer.emit('connection', socket)`. A connection is destroyed, `EXPIRED`, when
 * what its client was appraised with ends.
 */
export function createAttestedServer<C extends Clients>(
  options: AttestedServerOptions<C>,
  listener: AttestedListener<C>,
): Server {
  const { clients, credentials, timeoutMs = TIMEOUT_MS, onFailure = () => {} } = options
  const server = createServer({
    ...credentials,
    minVersion: 'TLSv1.3',
    handshakeTimeout: timeoutMs,
    // Certificates of clients are self-signed: the evidence is what is believed.
    ...(clients === 'anyone' ? {} : { requestCert: true, rejectUnauthorized: false }),
    ...(options.mode === 'certificate' ? {} : { ALPNProtocols: [FRESH_PROTOCOL] }),
  })
  server.on('tlsClientError', (error, socket) => {
    // Node leaves a connection open whose handshake took too long.
    socket.destroy()
    onFailure(error)
  })
  server.on('secureConnection', socket => {
    // What breaks is seen where it is waited for.
    socket.on('error', () => {})
    received(socket, options, timeoutMs).then(
      appraisal => {
        if (appraisal !== undefined && clients !== 'anyone') {
          endWithAppraisal(socket, appraisal, clients.now)
        }
        // There is an appraisal exactly where clients are appraised: see `received`.
        listener(socket, appraisal as Parameters<typeof listener>[1])
      },
      (error: unknown) => {
        socket.destroy()
        onFailure(error)
      },
    )
  })
  return server
}

async function received(
  socket: TLSSocket,
  options: AttestedServerOptions<Clients>,
  timeoutMs: number,
): Promise<TrustedAppraisal | undefined> {
  if (socket.isSessionReused()) throw new AttestedTlsError('TLS', 'wanted a full handshake')
  const { clients } = options
  const certificate = socket.getPeerX509Certificate()
  if (options.mode === 'certificate') {
    if (clients === 'anyone') return undefined
    if (certificate === undefined) {
      throw new AttestedTlsError('TLS', 'wanted a certificate of the client’s')
    }
    const deadline = AbortSignal.timeout(timeoutMs)
    return await inTime(appraiseCertificate(certificate, clients), deadline)
  }
  if (socket.alpnProtocol !== FRESH_PROTOCOL) {
    throw new AttestedTlsError('TLS', `the client does not speak ${FRESH_PROTOCOL}`)
  }
  const server = socket.getX509Certificate()?.raw
  if (server === undefined) throw new AttestedTlsError('TLS', 'wanted a certificate of one’s own')
  const leaves = { server, client: certificate?.raw }
  return await exchangeAsServer(socket, { clients, source: options.source, leaves, timeoutMs })
}
