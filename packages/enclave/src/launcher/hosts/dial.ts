import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { HANDSHAKE_MS, TLS_OPTIONS } from '../../init/together/ciphers.ts'
import type { HostAddress } from './address.ts'
import { encodeGreeting, type Greeting } from './greeting.ts'
import { type Called, type HostsSecret, hostIdentity } from './secret.ts'

/** Whom to call, and as who. */
export interface Dialling {
  readonly address: HostAddress
  readonly called: Called
  readonly secret?: HostsSecret | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Calls the launcher of another host and greets it.
 * @throws Error of the system's or of TLS, when it is not there or has another secret
 */
export async function dial(dialling: Dialling, greeting: Greeting): Promise<Socket> {
  const { address, called, secret } = dialling
  const raw = connect({ ...address, allowHalfOpen: true, noDelay: true })
  const socket = secret === undefined ? raw : wrapped(raw, called, secret)
  socket.on('error', () => {})
  raw.on('error', error => socket.destroy(error))
  const deadline = AbortSignal.timeout(HANDSHAKE_MS)
  const { signal = deadline } = dialling
  const isThere = secret === undefined ? 'connect' : 'secureConnect'
  try {
    await Promise.race([
      once(socket, isThere, { signal: AbortSignal.any([deadline, signal]) }),
      once(socket, 'close').then(() => {
        throw new Error('the connection ended before it was made')
      }),
    ])
  } catch (error) {
    raw.destroy()
    socket.destroy()
    throw error
  }
  socket.write(encodeGreeting(greeting))
  return socket
}

function wrapped(raw: Socket, called: Called, secret: HostsSecret): Socket {
  return connectTls({
    ...TLS_OPTIONS,
    socket: raw,
    pskCallback: () => ({ identity: hostIdentity(called), psk: secret.keyFor(called) }),
    checkServerIdentity: () => new Error("wanted the hosts' secret, seen a certificate"),
  })
}
