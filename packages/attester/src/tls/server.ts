import { X509Certificate } from 'node:crypto'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { TlsCredentials } from '../certificate/credentials.ts'
import { AttestedTlsError } from '../errors.ts'
import type { QuoteSource } from '../quote-source/quote-source.ts'
import {
  encodeAnswer,
  exporterOf,
  FRESH_PROTOCOL,
  freshReportData,
  NONCE_BYTES,
  parseChallenge,
} from './protocol.ts'
import { readFrame } from './read-frame.ts'

/** Milliseconds that a client has for its handshake, and again for its challenge. */
const TIMEOUT_MS = 10_000

/** Options of {@link createAttestedServer}. */
export interface AttestedServerOptions {
  /** The certificate needs no evidence in it. */
  readonly credentials: TlsCredentials
  readonly source: QuoteSource
  /** Milliseconds for the handshake, and again for the challenge; 10 s unless told. */
  readonly timeoutMs?: number
  /** Told why a connection was dropped before it reached the listener. */
  readonly onFailure?: (error: unknown) => void
}

/**
 * A server of fresh mode, TLS 1.3 only. Each connection is answered with evidence about itself and
 * then given to `listener`, which may hand it on: `socket => httpServer.emit('connection', socket)`.
 */
export function createAttestedServer(
  options: AttestedServerOptions,
  listener: (socket: TLSSocket) => void,
): Server {
  const { credentials, source, timeoutMs = TIMEOUT_MS, onFailure = () => {} } = options
  const leaf = new X509Certificate(credentials.cert).raw
  const server = createServer({
    key: credentials.key,
    cert: credentials.cert,
    minVersion: 'TLSv1.3',
    ALPNProtocols: [FRESH_PROTOCOL],
    handshakeTimeout: timeoutMs,
  })
  server.on('tlsClientError', (error, socket) => {
    // Node leaves a connection open whose handshake took too long.
    socket.destroy()
    onFailure(error)
  })
  server.on('secureConnection', socket => {
    // What breaks is seen where it is waited for.
    socket.on('error', () => {})
    answer(socket, leaf, source, AbortSignal.timeout(timeoutMs)).then(
      () => listener(socket),
      (error: unknown) => {
        socket.destroy()
        onFailure(error)
      },
    )
  })
  return server
}

async function answer(
  socket: TLSSocket,
  leaf: Uint8Array,
  source: QuoteSource,
  deadline: AbortSignal,
): Promise<void> {
  if (socket.alpnProtocol !== FRESH_PROTOCOL) {
    throw new AttestedTlsError('TLS', `the client does not speak ${FRESH_PROTOCOL}`)
  }
  const nonce = parseChallenge(await readFrame(socket, 1 + NONCE_BYTES, deadline))
  const exporter = exporterOf(socket)
  const evidence = await source.quote(freshReportData({ nonce, exporter, leaf }))
  socket.write(encodeAnswer(evidence))
}
