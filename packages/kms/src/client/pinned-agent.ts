import { createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { Agent } from 'node:https'
import type { Duplex } from 'node:stream'
import { connect, type TLSSocket } from 'node:tls'
import type { KmsPin } from '../protocol/pin.ts'
import { tlsNameOf } from '../protocol/public-key.ts'
import { KmsConnectionError } from './connection-error.ts'

/** Milliseconds until a connection must stand, handshake and all. */
const CONNECT_TIMEOUT_MS = 10_000

const NETWORK_ERRORS = new Set([
  'EACCES',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
])

/** A client certificate with its chain, and its private key: both PEM. */
export interface ClientCertificate {
  readonly cert: string
  readonly key: string
}

/**
 * Connects to one pinned key service. HTTP is handed a socket only after the whole verification:
 * a false key service sees a handshake and not one byte of a request.
 */
export class PinnedAgent extends Agent {
  readonly #pin: KmsPin
  readonly #identity: KeyObject
  readonly #socketPath: string | undefined
  readonly #clientCertificate: ClientCertificate | undefined
  #presented: X509Certificate | undefined

  constructor(
    pin: KmsPin,
    socketPath: string | undefined,
    clientCertificate: ClientCertificate | undefined,
  ) {
    super({ keepAlive: true, maxSockets: 64, scheduling: 'lifo' })
    this.#pin = pin
    this.#socketPath = socketPath
    this.#clientCertificate = clientCertificate
    this.#identity = createPublicKey({
      key: Buffer.from(pin.identityKey, 'base64url'),
      format: 'der',
      type: 'spki',
    })
  }

  /** The certificate that was presented on the newest connection. */
  get presented(): X509Certificate | undefined {
    return this.#presented
  }

  /** Called by the base class for each new connection. */
  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const { hostname, port } = new URL(this.#pin.url)
    const servername = tlsNameOf(this.#pin.kmsId)
    const socket = connect({
      ...(this.#socketPath === undefined
        ? { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 443) }
        : { path: this.#socketPath }),
      ca: [this.#pin.certificate],
      ...this.#clientCertificate,
      servername,
      // Stated, so that NODE_TLS_REJECT_UNAUTHORIZED in a host's environment changes nothing.
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['http/1.1'],
    })
    const settle = (error: Error | null) => {
      clearTimeout(timer)
      socket.off('error', fail)
      socket.off('close', closed)
      if (error !== null) {
        socket.on('error', () => {})
        socket.destroy()
      }
      callback?.(error, socket)
    }
    const fail = (cause: Error) => settle(connectionErrorFrom(cause))
    const closed = () => settle(new KmsConnectionError('UNREACHABLE', 'the connection was closed'))
    const timer = setTimeout(
      () => settle(new KmsConnectionError('TIMEOUT', 'no connection within 10 s')),
      CONNECT_TIMEOUT_MS,
    )
    socket.once('error', fail)
    socket.once('close', closed)
    socket.once('secureConnect', () => settle(this.#refusal(socket, servername)))
    return undefined
  }

  /** What OpenSSL has checked already, once more and by the pinned key itself. */
  #refusal(socket: TLSSocket, servername: string): Error | null {
    const certificate = socket.getPeerX509Certificate()
    const isPinned =
      socket.authorized &&
      certificate?.verify(this.#identity) === true &&
      certificate.checkHost(servername, { subject: 'never' }) !== undefined
    if (isPinned) this.#presented = certificate
    return isPinned ? null : new KmsConnectionError('FALSE_KMS', notPinned(this.#pin.kmsId))
  }
}

function notPinned(kmsId: string): string {
  return `whoever answered is not the pinned key service ${kmsId.slice(0, 16)}…`
}

function connectionErrorFrom(cause: Error): KmsConnectionError {
  const code = 'code' in cause ? String(cause.code) : ''
  return NETWORK_ERRORS.has(code)
    ? new KmsConnectionError('UNREACHABLE', `the key service cannot be reached (${code})`, {
        cause,
      })
    : new KmsConnectionError(
        'FALSE_KMS',
        `whoever answered is not the pinned key service (${code || cause.message})`,
        { cause },
      )
}
