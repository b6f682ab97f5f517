import { randomBytes, type X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import type { TrustedAppraisal } from '@cloister/attestation'
import { reportDataOf } from '@cloister/attestation'
import { appraisePeer, type PeerRequirements } from '../appraise-peer.ts'
import {
  assertCertificateBinds,
  parseAttestedCertificate,
} from '../certificate/attested-certificate.ts'
import { AttestedCertificateError, AttestedTlsError } from '../errors.ts'
import {
  encodeChallenge,
  exporterOf,
  FRESH_PROTOCOL,
  freshReportData,
  MAX_FRAME_BYTES,
  NONCE_BYTES,
  parseAnswer,
} from './protocol.ts'
import { readFrame } from './read-frame.ts'

/** Milliseconds until a connection must stand, evidence and all. */
const TIMEOUT_MS = 10_000

/** Options of {@link connectAttested}. */
export interface ConnectAttestedOptions extends PeerRequirements {
  readonly host: string
  readonly port: number
  /**
   * `fresh`, unless told: evidence about this very connection. `certificate`: evidence in the
   * server's certificate, which says that its key was made there, and not when.
   */
  readonly mode?: 'fresh' | 'certificate'
  /** Milliseconds for all of it, collateral too; 10 s unless told. */
  readonly timeoutMs?: number
}

/** A connection to a workload that was appraised as trusted. */
export interface AttestedConnection {
  readonly socket: TLSSocket
  readonly appraisal: TrustedAppraisal
}

/**
 * Connects with TLS 1.3 and gives the connection once the other side's evidence is about it,
 * verifies and meets the policy. Until then not one byte of the caller's is sent. Names in
 * certificates decide nothing: the evidence does.
 * @throws AttestedTlsError
 */
export async function connectAttested(
  options: ConnectAttestedOptions,
): Promise<AttestedConnection> {
  const { host, port, mode = 'fresh', timeoutMs = TIMEOUT_MS } = options
  const deadline = AbortSignal.timeout(timeoutMs)
  const socket = connect({
    host,
    port,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    minVersion: 'TLSv1.3',
    // The certificate is self-signed: the evidence is what is believed, and it is bound to it.
    rejectUnauthorized: false,
    ...(mode === 'fresh' ? { ALPNProtocols: [FRESH_PROTOCOL] } : {}),
  })
  // What breaks later is seen where it is waited for.
  socket.on('error', () => {})
  try {
    await handshake(socket, deadline)
    const certificate = certificateOf(socket, mode)
    const appraising =
      mode === 'fresh'
        ? appraiseFresh(socket, certificate, options, deadline)
        : appraiseCertificate(certificate, options)
    return { socket, appraisal: await inTime(appraising, deadline) }
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

async function appraiseFresh(
  socket: TLSSocket,
  certificate: X509Certificate,
  requirements: PeerRequirements,
  deadline: AbortSignal,
): Promise<TrustedAppraisal> {
  const nonce = randomBytes(NONCE_BYTES)
  const wanted = freshReportData({ nonce, exporter: exporterOf(socket), leaf: certificate.raw })
  socket.write(encodeChallenge(nonce))
  const evidence = parseAnswer(await readFrame(socket, MAX_FRAME_BYTES, deadline))
  return appraisePeer(evidence, requirements, verified => {
    if (Buffer.compare(reportDataOf(verified), wanted) !== 0) {
      throw new AttestedTlsError('BINDING', 'the evidence is not about this connection')
    }
  })
}

async function appraiseCertificate(
  certificate: X509Certificate,
  requirements: PeerRequirements,
): Promise<TrustedAppraisal> {
  const attested = attestedFrom(certificate)
  return appraisePeer({ evidence: attested.quote }, requirements, (verified, at) =>
    assertCertificateBinds(attested, verified, certificate.publicKey, at),
  )
}

function attestedFrom({ raw }: X509Certificate) {
  try {
    return parseAttestedCertificate(raw)
  } catch (cause) {
    if (!(cause instanceof AttestedCertificateError)) throw cause
    const code = cause.code === 'BINDING' ? 'BINDING' : 'EVIDENCE'
    throw new AttestedTlsError(code, `no attested certificate: ${cause.message}`, { cause })
  }
}

async function inTime<T>(work: Promise<T>, deadline: AbortSignal): Promise<T> {
  // Whatever it comes to after the deadline, nobody waits for it any more.
  work.catch(() => {})
  let stop = () => {}
  const late = new Promise<never>((_, reject) => {
    stop = () => reject(new AttestedTlsError('TIMEOUT', 'the connection was not made in time'))
    deadline.addEventListener('abort', stop, { once: true })
    if (deadline.aborted) stop()
  })
  try {
    return await Promise.race([work, late])
  } finally {
    deadline.removeEventListener('abort', stop)
  }
}
