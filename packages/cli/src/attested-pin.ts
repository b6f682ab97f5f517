import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { TrustedAppraisal } from '@cloister/attestation'
import {
  type ConnectAttestedOptions,
  connectAttested,
  createAttestedServer,
  issueTlsCredentials,
  type QuoteSource,
} from '@cloister/attester'
import type { KmsPin } from '@cloister/kms'
import { pinFrom } from './session.ts'
import { UsageError } from './usage-error.ts'

/** A quote a connection: nobody makes the platform quote more than this many at once. */
const MAX_CONNECTIONS = 64
const MAX_PIN_BYTES = 16 * 1024
const TIMEOUT_MS = 10_000
/** Clients go by the evidence and not by the certificate's dates. */
const CERTIFICATE_DAYS = 3653

/** Where a key service tells its pin over attested TLS. */
export interface AttestedPinServer {
  readonly port: number
  close(): void
}

/**
 * Tells whoever connects, after evidence about the connection, what to pin the key service by.
 * @param options - `port`: 0 takes a free one; `onFailure`: told why a connection was dropped
 */
export async function serveAttestedPin(options: {
  readonly host: string
  readonly port: number
  readonly pin: KmsPin
  readonly source: QuoteSource
  readonly onFailure: (error: unknown) => void
}): Promise<AttestedPinServer> {
  const { host, onFailure, pin, port, source } = options
  const credentials = await issueTlsCredentials({
    commonName: 'key service',
    notBefore: new Date(),
    validForDays: CERTIFICATE_DAYS,
  })
  const server = createAttestedServer(
    { credentials, source, clients: 'anyone', onFailure },
    socket => {
      socket.setTimeout(TIMEOUT_MS, () => socket.destroy())
      socket.end(JSON.stringify(pin))
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  server.listen(port, host)
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() }
}

/**
 * Asks a key service for its pin, over a connection whose other side was appraised as trusted.
 * @throws AttestedTlsError, UsageError, KmsError MALFORMED
 */
export async function fetchAttestedPin(
  options: ConnectAttestedOptions,
): Promise<{ readonly pin: KmsPin; readonly appraisal: TrustedAppraisal }> {
  const { appraisal, socket } = await connectAttested(options)
  try {
    const text = await readToEnd(socket)
    return { pin: pinFrom(text, `what ${options.host}:${options.port} said`), appraisal }
  } finally {
    socket.destroy()
  }
}

async function readToEnd(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('no more came in time')))
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_PIN_BYTES) {
      throw new UsageError('the other side says more than a pin', 'is that the attested port?')
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
